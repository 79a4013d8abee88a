"""The audit of a user's own data with one training run and no shadow models.

What belongs here: `audit`, its result, the monitor inside a user's own training loop, `verify`. What does not: Dagster, the
command line (`cli_audit`). Nothing heavy is imported before a name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memo_assets.audit.engine import audit
    from memo_assets.audit.monitor import MemorizationMonitor
    from memo_assets.audit.result import AuditResult, VerifyError, verify
    from memo_assets.audit.settings import AuditSettings

__all__ = ["AuditResult", "AuditSettings", "MemorizationMonitor", "VerifyError", "audit", "verify"]

_HOMES = {
    "AuditResult": "result",
    "AuditSettings": "settings",
    "MemorizationMonitor": "monitor",
    "VerifyError": "result",
    "audit": "engine",
    "verify": "result",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
