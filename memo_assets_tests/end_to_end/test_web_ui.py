"""The web UI over the demo in Chromium: seen, clicked, a study changed and brought up to date again."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response, expect

from memo_assets_tests.end_to_end.conftest import Platform
from memo_assets_tests.end_to_end.web_ui import WebUi

pytestmark = pytest.mark.slow

# Kept after the tests, to be looked at; git ignores it.
SCREENSHOTS = Path(__file__).parents[2] / "test_artifacts" / "ui"
NAME, MODELS = "cities", 16
GROUP = f"/locations/memo_assets/asset-groups/{NAME}"


@pytest.fixture(scope="module")
def ui(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUi]:
    """`make ui` with both demo studies materialized."""
    assert platform.studies[NAME].shadows.models == MODELS
    folder = tmp_path_factory.mktemp("ui")
    made = WebUi(folder, SCREENSHOTS, platform.warehouse, platform.studies.values())
    with made.served():
        yield made


def tells_states(answer: Response) -> bool:
    """Whether the UI has asked what of the assets on a page is materialized, and been told."""
    return "AssetGraphLiveQuery" in (answer.request.post_data or "")


def materialize_missing(page: Page, ui: WebUi, name: str) -> None:
    """Click one's way from the partition grid of an asset to the run that makes what is missing, and see it turn green."""
    ui.open(page, f"/assets/{NAME}/{name}?view=partitions")
    page.get_by_text("Missing (1)").wait_for()
    ui.keep(page, f"{name}_missing")
    page.get_by_role("button", name=re.compile("Materialize")).first.click()
    page.get_by_text("Launch runs to materialize").wait_for()
    page.get_by_text("Missing", exact=True).last.click()
    page.get_by_text("1 partition", exact=True).wait_for()
    ui.keep(page, f"{name}_launch")
    page.get_by_text(re.compile(r"^Launch (run|backfill|1 run)")).last.click()
    page.get_by_text("Launch runs to materialize").wait_for(state="hidden")
    ui.open(page, f"/assets/{NAME}/{name}?view=partitions")
    page.get_by_text(f"Materialized ({MODELS + 1})").wait_for()
    expect(page.get_by_text("Failed (0)")).to_be_visible()
    page.get_by_placeholder("Filter by name").fill(str(MODELS))
    page.get_by_text(str(MODELS), exact=True).first.click()
    page.get_by_text("dagster/").or_(page.get_by_text("seconds")).first.wait_for()
    ui.keep(page, f"{name}_green")


def test_a_person_looks_at_a_study_and_brings_it_up_to_date(ui: WebUi) -> None:
    with ui.page() as page:
        with page.expect_response(tells_states):
            ui.open(page, f"{GROUP}/lineage")
        for name in ("samples", "adapters", "shadow_logits", "memorization", "report"):
            page.get_by_text(name, exact=True).first.wait_for()
        ui.keep(page, "lineage")

        ui.open(page, f"/assets/{NAME}/figure_roc")
        page.get_by_text("ROC curves of the predictors at the prediction epoch.").wait_for()
        page.get_by_text("[Show Markdown]").click()
        picture = page.locator("img[src^='data:image/png']").first
        picture.wait_for()
        assert picture.evaluate("image => image.naturalWidth") >= 800
        ui.keep(page, "figure")

        ui.open(page, f"/assets/{NAME}/adapters")
        page.get_by_text("Plots", exact=True).first.click()
        page.get_by_text("last_train_loss", exact=True).wait_for()
        page.locator("canvas").first.wait_for()
        ui.keep(page, "plots")

        ui.open(page, f"/assets/{NAME}/samples?view=checks")
        page.get_by_text("ids_unique_and_stable").first.click()
        page.get_by_text("Every sample_id occurs once").first.wait_for()
        page.get_by_text("Passed").first.wait_for()
        ui.keep(page, "check")

        # One model more: a partition is missing, and labels of fewer models are stale.
        ui.change(NAME, {"shadows.models": MODELS + 1})
        ui.open(page, f"{GROUP}/lineage")
        page.get_by_text("Reload definitions").click()
        page.get_by_text(re.compile("Definitions reloaded|reloaded", re.IGNORECASE)).first.wait_for()
        ui.open(page, f"/assets/{NAME}/memorization")
        page.get_by_text("Unsynced (1)").hover()
        page.get_by_text(re.compile("code version", re.IGNORECASE)).first.wait_for()
        ui.keep(page, "stale")
        ui.open(page, f"/assets/{NAME}/samples")
        page.get_by_text("Latest materialization").wait_for()
        expect(page.get_by_text(re.compile("Unsynced"))).to_have_count(0)

        for name in ("split_masks", "adapters"):
            materialize_missing(page, ui, name)
