"""Which source code a process runs, so that submitter and worker can be told to run the same.

What belongs here: the hash of the modules that decide a worker's result. What does not: settings (`graph`).
"""

import hashlib
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_WORKER_PARTS = ("compute", "config", "data", "measures", "models", "store", "training", "graph.py")


@cache
def source_version() -> str:
    """Hash of the source that a worker runs, as it was when this process first asked; 16 hexadecimal digits.

    Figures, assets and the command line do not count: to change them while jobs are queued does no harm.
    """
    digest = hashlib.sha256()
    for part in _WORKER_PARTS:
        path = _PACKAGE / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(file.relative_to(_PACKAGE)).encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
