"""Which executor a run gets: the environment, unless its configuration says otherwise."""

import dagster as dg
import pytest

from memo_assets.assets.watching import ExecutorResource
from memo_assets.compute.choice import chosen_kind
from memo_assets.compute.errors import ExecutorError
from memo_assets.definitions import build_defs
from memo_assets_tests.studies import DIGITS, study


def executor_of_a_run(config: dict[str, str] | None) -> str:
    """Name of the executor that a run's asset sees."""
    seen: list[str] = []

    @dg.asset(required_resource_keys={"executor"})
    def looks(context: dg.AssetExecutionContext) -> None:
        seen.append(context.resources.executor.name)

    run_config = {"resources": {"executor": {"config": config}}} if config else None
    assert dg.materialize([looks], resources={"executor": ExecutorResource()}, run_config=run_config).success
    return seen[0]


@pytest.mark.parametrize(
    ("variable", "config", "name"),
    [
        (None, None, "local"),
        ("", None, "local"),
        ("slurm", None, "slurm"),
        (None, {"kind": "slurm"}, "slurm"),
        ("slurm", {"kind": "local"}, "local"),
    ],
)
def test_the_configuration_of_a_run_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, config: dict[str, str] | None, name: str
) -> None:
    monkeypatch.delenv("MEMO_EXECUTOR", raising=False)
    if variable is not None:
        monkeypatch.setenv("MEMO_EXECUTOR", variable)
    assert executor_of_a_run(config) == name


def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMO_EXECUTOR", "slrum")
    with pytest.raises(ExecutorError, match="MEMO_EXECUTOR: given 'slrum'; expected one of local, slurm"):
        chosen_kind()
    with pytest.raises(ExecutorError, match="executor: given 'cloud'; expected one of local, slurm"):
        chosen_kind("cloud")


def test_steps_take_turns_on_this_machine_and_not_on_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    key = dg.AssetKey(["tiny", "adapters"])
    pools = {}
    for kind in ("local", "slurm"):
        monkeypatch.setenv("MEMO_EXECUTOR", kind)
        pools[kind] = build_defs([study(DIGITS)]).resolve_assets_def(key).op.pool
    assert pools == {"local": "gpu", "slurm": None}
