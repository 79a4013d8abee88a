"""When the browser of a run starts."""

import dagster as dg
import pytest

from memo_assets.assets.pictures import PicturesResource
from memo_assets.figures import render


@pytest.mark.parametrize(
    ("names", "starts"),
    [(["figure_roc"], True), (["memorization", "figure_roc"], True), (["adapters", "figure_roc"], False)],
)
def test_the_browser_starts_with_the_run_unless_that_waits_for_gpus(
    monkeypatch: pytest.MonkeyPatch, names: list[str], starts: bool
):
    started: list = []
    seen: list = []

    def start(pictures: render.Pictures) -> None:
        started.append(pictures)

    monkeypatch.setattr(render.Pictures, "start", start)

    def asset(name: str) -> dg.AssetsDefinition:
        @dg.asset(key=["s", name], required_resource_keys={"pictures"})
        def made(context: dg.AssetExecutionContext) -> None:
            seen.append(context.resources.pictures)

        return made

    assets = [asset(name) for name in (*names, "another")]  # a run of all assets has no selection
    selected = [dg.AssetKey(["s", name]) for name in names]
    definitions = dg.Definitions(assets, resources={"pictures": PicturesResource()})
    job = definitions.resolve_implicit_job_def_def_for_assets(selected)
    assert job is not None
    job.execute_in_process(asset_selection=selected)
    assert len(seen) == len(names)
    assert started == ([seen[0]] if starts else [])
