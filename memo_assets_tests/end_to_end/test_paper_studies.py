"""Each study of the paper from raw data to report, at toy size: what runs on a cluster is what runs here."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from memo_assets.assets.training import work_item
from memo_assets.compute.local import LocalExecutor
from memo_assets.compute.variation_step import answer_variation
from memo_assets.config import Study
from memo_assets.data.items import load_items
from memo_assets.data.samples import build_samples
from memo_assets.definitions import build_defs
from memo_assets.graph import steps
from memo_assets.instance import open_instance
from memo_assets.pipeline import bring_up_to_date
from memo_assets.status import study_state
from memo_assets.store.layout import Layout
from memo_assets.store.tables import reading
from memo_assets.study_check import check_study
from memo_assets.training.interruption import Interrupted
from memo_assets_tests.end_to_end.conftest import Recorder
from memo_assets_tests.models.small_models import save_small_model
from memo_assets_tests.paper_studies import SAVE, toy
from memo_assets_tests.studies import write_study

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]


def _made(name: str, folder: Path) -> Study:
    study = toy(name, folder)
    samples = build_samples(load_items(study.data, study.data_seed, folder), study)
    # Often enough that every answer becomes one token with the space before it, as in the tokenizers of the paper.
    answers = [f" {option}" for row in samples["options"] for option in row] * 20
    save_small_model(folder / "model", name.rsplit("_", 1)[1], [*samples["prompt"], *answers])
    return study


@pytest.mark.parametrize("name", SAVE)
def test_a_study_of_the_paper_runs_from_raw_data_to_report(
    name: str, tmp_path: Path, executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMO_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "warehouse" / "dagster_home"))
    study = _made(name, tmp_path)
    recorder = Recorder()
    definitions = build_defs([study], {"observer": recorder, "executor": executor})
    with open_instance() as instance:
        bring_up_to_date(study, definitions, instance, recorder)
        assert all(not state.todo for state in study_state(study, definitions, instance))
        event = instance.get_latest_materialization_event(dg.AssetKey([name, "adapters"]))
    assert event is not None
    assert event.asset_materialization is not None
    cut = event.asset_materialization.metadata["cut_prompts"].value
    assert cut == (1 if name.startswith("mmlu") else 0)
    layout = Layout.of(name)
    assert study.title in layout.report.read_text()
    samples = pq.read_table(layout.samples).to_pandas()
    if name == "arc_mistral":
        _check_the_lone_label(layout)
    pool = samples.loc[samples["part"] == "pool", "sample_id"].to_numpy()
    for seed in study.seeds:
        mask = np.random.RandomState(seed).choice(len(pool), len(pool) // 2, replace=False)
        assert (pq.read_table(layout.split_mask(seed)).column("sample_id").to_numpy() == pool[mask]).all()
    _check_against_peft(study, layout, samples["prompt"].tolist(), samples["options"].tolist())
    _check_skewness(study)
    if study.has_choices:
        _check_varied_answers(study, samples)
        _check_an_interrupted_variation(study)
    else:
        assert "answer_variation" not in steps(study)
        assert not layout.answer_variation(0).exists()


def _check_skewness(study: Study) -> None:
    """The table has all it varies, and the figure is there."""
    with reading() as connection:
        found = connection.execute(
            "SELECT over, count(DISTINCT value) FROM memorization_skewness WHERE study = ? GROUP BY ALL ORDER BY ALL",
            [study.name],
        ).fetchall()
    assert found == [("epoch", 3), ("similarity", 1), ("size", 1)]
    assert "Skewness" in Layout.of(study.name).figure("figure_skewness", "html").read_text()


def _check_varied_answers(study: Study, samples: pd.DataFrame) -> None:
    """Gaps before are those of `logits`, gaps after those of the varied prompt under PEFT; what is left out is told."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    layout = Layout.of(study.name)
    with reading() as connection:
        rows = connection.execute(
            """
            SELECT v.*, l.logit_gap, s.prompt, s.options, s.true_index, s.given_index, s.true_label
            FROM answer_variation v JOIN logits l USING (study, sample_id) JOIN samples s USING (study, sample_id)
            WHERE study = ? AND target_seed = 0 AND split_seed = 0 AND epoch = 2 ORDER BY sample_id
            """,
            [study.name],
        ).df()
        rates = connection.execute(
            "SELECT trials FROM answer_variation_summary WHERE study = ? AND measure = 'accuracy' ORDER BY among",
            [study.name],
        ).fetchall()
    mask = pq.read_table(layout.split_mask(0)).column("sample_id").to_numpy()
    assert sorted(rows["sample_id"]) == sorted(mask)
    kept = rows["true_index"] == rows["given_index"]
    # Batches are others than those of logits, and bfloat16 tells.
    np.testing.assert_allclose(rows["gap"][kept], rows["logit_gap"][kept], atol=0.02)
    left_out = rows.loc[rows["outcome"] != "varied", "sample_id"].tolist()
    assert left_out == ([7] if study.name == "arc_mistral" and 7 in mask else [])
    (of_all, memorized, other) = (trials for (trials,) in rates)
    assert of_all == memorized + other == int((kept & (rows["outcome"] == "varied")).sum())
    assert study.model.kind == "pretrained"
    base = AutoModelForCausalLM.from_pretrained(study.model.name, dtype=torch.bfloat16)
    model = PeftModel.from_pretrained(base, layout.adapter(0, 2)).eval()
    tokenizer = AutoTokenizer.from_pretrained(study.model.name)
    longest = study.training.max_length
    changes: list[float] = []
    for row in rows[rows["outcome"] == "varied"].to_dict("records"):
        line = re.compile(rf"(?m)^- {row['true_label']}: .*$")
        prompt, replaced = line.subn(f"- {row['true_label']}: None of the other answers", str(row["prompt"]))
        assert replaced == 1
        texts = [tokenizer(f"{prompt} {option}")["input_ids"] for option in row["options"]]
        if longest is not None and len(texts[0]) > longest:
            continue
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([texts[0][:-1]])).logits[0, -1].float()
        ours = np.array([logits[ids[-1]].item() for ids in texts])
        others = np.delete(ours, row["true_index"])
        assert row["varied_gap"] == pytest.approx(ours[row["true_index"]] - others.max(), abs=0.03)
        changes.append(abs(row["varied_gap"] - row["gap"]))
    assert len(changes) >= 20
    assert max(changes) > 0.06, "the varied question is another one to the model"
    assert "none of the other answers" in layout.figure("figure_answer_variation", "html").read_text()
    assert "right option says something else" in layout.report.read_text()


def _check_an_interrupted_variation(study: Study) -> None:
    """Stopped after one model of two, it goes on with the other, and the first one's file is the same."""
    layout = Layout.of(study.name)
    before = layout.answer_variation(0).read_bytes()
    item = work_item(study, "answer_variation", [0, 1])
    done: list[tuple[int, int, str]] = []

    def note(*progress: Any) -> None:
        done.append(progress)

    with pytest.raises(Interrupted, match="interrupted at model 1 of 2"):
        answer_variation(item, note, lambda: True)
    results = answer_variation(item, note, lambda: True)
    assert done == [(1, 2, "models"), (2, 2, "models")]
    assert set(results) == {0, 1}
    assert layout.answer_variation(0).read_bytes() == before
    assert layout.answer_variation(1).is_file()


def _check_the_lone_label(layout: Layout) -> None:
    """Sample 7 alone has the answer E: it alone is left out of PSMI, and has its loss."""
    with reading() as connection:
        rows = connection.execute(
            "SELECT DISTINCT predictor, sample_id FROM predictor_scores "
            "WHERE study = ? AND predictor IN ('psmi', 'psmi_sd', 'loss') AND (score IS NULL OR isnan(score))",
            [layout.study],
        ).fetchall()
    assert sorted(rows) == [("psmi", 7), ("psmi_sd", 7)]


def _check_against_peft(study: Study, layout: Layout, prompts: list[str], options: list[list[str]]) -> None:
    """The stored logits of a trained adapter are those that PEFT gives it on the same base in the same precision."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    assert study.model.kind == "pretrained"
    base = AutoModelForCausalLM.from_pretrained(study.model.name, dtype=torch.bfloat16).eval()
    _check_logits(study, 0, base, prompts, options)
    model = PeftModel.from_pretrained(base, layout.adapter(3, 2)).eval()
    _check_logits(study, 2, model, prompts, options)


def _check_logits(
    study: Study, epoch: float, model: Any, prompts: list[str], options: list[list[str]]
) -> None:
    """The stored logits of model 3 at an epoch are those of a model."""
    from transformers import AutoTokenizer

    assert study.model.kind == "pretrained"
    tokenizer = AutoTokenizer.from_pretrained(study.model.name)
    table = pq.read_table(Layout.of(study.name).logits(3)).to_pandas()
    stored = table[table["epoch"] == epoch].set_index("sample_id")["option_logits"]
    for row in (0, 7, 12):
        texts = [tokenizer(f"{prompts[row]} {option}")["input_ids"] for option in options[row]]
        assert len({tuple(ids[:-1]) for ids in texts}) == 1, "every option is one token"
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([texts[0][:-1]])).logits[0, -1].float()
        ours = [logits[ids[-1]].item() for ids in texts]
        np.testing.assert_allclose(stored[row], ours, atol=0.05)


def test_the_check_counts_tokens_and_cut_prompts(tmp_path: Path) -> None:
    study = _made("mmlu_gemma", tmp_path)
    facts = check_study(write_study(tmp_path, study.model_dump(mode="json")))
    assert facts["samples"] == "63 (56 pool, 7 test)"
    assert str(facts["tokens"]).endswith(
        "1 of 63 prompts lose their beginning to max_length = 200, the first of sample 5"
    )
