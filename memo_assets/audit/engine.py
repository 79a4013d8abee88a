"""The audit of a data set: one training run, scores at the prediction epoch, controls, calibration.

What belongs here: the order of things, and what is known of the data. What does not: each part (`controls`, `calibration`, `training.early_run`,
`compute.early_scores`), files (`result`), the command line (`cli_audit`).
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from memo_assets.audit.calibration import calibrate
from memo_assets.audit.canaries import plant
from memo_assets.audit.models import AuditedModel, load_model
from memo_assets.audit.prompts import Answers, audit_samples, checked_items, choose_answers
from memo_assets.audit.result import AuditResult
from memo_assets.audit.settings import MIN_SHADOWS, AuditSettings
from memo_assets.audit.summary import CalibrationRecord, DataRecord
from memo_assets.audit.telling import summarize
from memo_assets.compute.early_scores import score_samples
from memo_assets.compute.memory import peak_memory_bytes, reset_peak_memory
from memo_assets.data.duplicates import looked_for, nearest_texts
from memo_assets.data.errors import DataError
from memo_assets.data.tokens import TokenizedSamples, tokenize
from memo_assets.measures.risk import ranked
from memo_assets.store.layout import warehouse_dir
from memo_assets.training.early_run import OnProgress, run_until_low_loss
from memo_assets.training.interruption import ShouldStop, never
from memo_assets.training.language import LanguageTask


@dataclass
class Clock:
    """Wall seconds by part of the audit."""

    seconds: dict[str, float]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of a block under a name."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 3)


def audit(
    dataframe: pd.DataFrame,
    *,
    text: str,
    label: str,
    model: str | None = None,
    id: str | None = None,  # noqa: A002 - as the command line calls it
    settings: AuditSettings | None = None,
    work: str | Path | None = None,
    source: str = "a data frame",
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop = never,
    **fields: Any,
) -> AuditResult:
    """Rank the samples of a labelled data set by how likely a model fine-tuned on them is about to memorize them.

    One LoRA fine-tuning run on all rows, stopped where the median loss has become low; no shadow models, unless a calibration
    is asked for.

    Args:
        dataframe: one row a sample.
        text: column of the texts, strings.
        label: column of the labels, 2 to 16 different strings.
        model: hub id, directory, `smollm2` or `tiny`.
        id: column of unique ids, strings; by default the row number.
        settings: all settings at once; by default `AuditSettings(model=..., **fields)`.
        work: folder that keeps what a killed audit has done, to go on there; by default nothing is kept.
        source: what the summary calls the data.
        on_progress: called with units done, units in all, and what is counted.
        should_stop: asked after every training step.
        fields: fields of `AuditSettings`.

    Returns:
        The result; `result.save(directory)` writes it.

    Raises:
        DataError: rows or columns that cannot be used.
        ValueError: settings that contradict each other, or a model that cannot be loaded.
        Interrupted: `should_stop` said yes.
    """
    chosen = settings or AuditSettings(**({} if model is None else {"model": model}), **fields)
    if settings is not None and (fields or model is not None):
        raise ValueError("give either `settings`, or `model` and fields of it, not both")
    if chosen.shadows and (chosen.shadows < MIN_SHADOWS or chosen.shadows % 2):
        raise ValueError(
            f"shadows = {chosen.shadows}; expected an even number from {MIN_SHADOWS}, or 0 for no calibration"
        )
    for role, name in (("text", text), ("label", label), ("id", id)):
        if name is not None and list(dataframe.columns).count(name) != 1:
            raise DataError(
                f"{source} has {'no' if name not in dataframe else 'more than one'} column {name!r} ({role}); its columns are "
                f"{', '.join(map(repr, dataframe.columns))}"
            )
    ids = [str(row) for row in range(len(dataframe))] if id is None else dataframe[id].tolist()
    items = checked_items(dataframe[text].tolist(), dataframe[label].tolist(), ids, where=source)
    for name, count in items["label"].value_counts().items():
        if count < 2:
            raise DataError(
                f"{source}: the label {name!r} stands at one row alone, so nothing is there to compare it with; remove the row, "
                "or merge labels"
            )
    audited = _Audit(items, chosen, (text, label), source, on_progress, should_stop)
    return audited.result(None if work is None else Path(work))


@dataclass
class _Audit:
    """One audit under way."""

    items: pd.DataFrame
    settings: AuditSettings
    columns: tuple[str, str]
    source: str
    on_progress: OnProgress | None
    should_stop: ShouldStop

    def __post_init__(self) -> None:
        self.clock = Clock({})
        rows = self.items[["item_id", "text", "label"]].to_numpy().tolist()
        self.sha256 = hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()

    def result(self, work: Path | None) -> AuditResult:
        """Run everything, in a folder of this very audit; what is in it is removed at the end."""
        import tempfile

        reset_peak_memory()
        device = _device(self.settings)
        with self.clock.part("model"):
            model = load_model(
                self.settings,
                warehouse_dir() / "base_models",
                device,
                on_progress=lambda done, total: self._told(done, total, "steps of the tiny model"),
                should_stop=self.should_stop,
            )
        if work is None:
            with tempfile.TemporaryDirectory(prefix="memo-audit-") as folder:
                return self._result(model, Path(folder))
        folder = work / self._key(model)
        folder.mkdir(parents=True, exist_ok=True)
        found = self._result(model, folder)
        shutil.rmtree(folder)
        return found

    def _key(self, model: AuditedModel) -> str:
        """A hash of all that the result depends on: data, settings, and the model's very weights."""
        parts = [self.sha256, self.settings.model_dump(mode="json"), model.version]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def _result(self, model: AuditedModel, folder: Path) -> AuditResult:
        settings, items = self.settings, self.items
        planted = plant(
            items["text"].tolist(),
            items["label"].tolist(),
            settings.n_canaries(len(items)),
            seed=settings.seed,
        )
        every = pd.concat([items, planted], ignore_index=True)
        labels = sorted(set(items["label"]))
        answers = choose_answers(labels, model.tokenizer, settings.template)
        samples = audit_samples(every["text"].tolist(), every["label"].tolist(), answers, seed=settings.seed)
        limit = min(settings.max_length, int(model.tokenizer.model_max_length))
        tokens = tokenize(samples, model.tokenizer, max_length=limit)
        make_task = partial(_make_task, model, tokens, settings)
        recipe = settings.recipe(len(every))
        with self.clock.part("training run"):
            run = run_until_low_loss(
                make_task([settings.seed]),
                np.arange(len(every)),
                recipe,
                folder,
                drop=settings.drop,
                on_progress=self.on_progress,
                should_stop=self.should_stop,
            )
        given, index = samples["given_label"].to_numpy(dtype=object), samples["given_index"].to_numpy()
        with self.clock.part("scores"):
            scores = score_samples(run, given, index, directions=settings.psmi_directions)
        calibration = None
        if settings.shadows:
            calibration = self._calibration(make_task, given[: len(items)], index[: len(items)], folder)
        with self.clock.part("duplicates"):
            table = self._with_neighbours(scores.iloc[: len(items)])
        names = np.array([*labels, None], dtype=object)  # the last one stands for -1
        table["suspected_label"] = names[table.pop("suspected_index").to_numpy()]
        shown = ["flagged", "psmi", "loss", "suspected_index"]
        controls = scores.iloc[len(items) :][shown].reset_index(drop=True)
        controls["suspected_label"] = names[controls.pop("suspected_index").to_numpy()]
        controls = pd.concat([planted[["canary", "label"]], controls], axis=1)
        at_risk = ranked(table)
        losses = pd.DataFrame(
            {"epoch": run.epochs, "median_loss": np.median(run.losses, axis=1).astype(np.float64)}
        )
        summary = summarize(
            settings=settings,
            data=self._data_record(answers, int(tokens.cut.sum())),
            model=model,
            run=run,
            at_risk=at_risk,
            planted=controls,
            calibration=calibration,
            seconds=self.clock.seconds,
            peak_memory=peak_memory_bytes(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return AuditResult(summary, at_risk, controls, losses)

    def _calibration(
        self,
        make_task: Callable[[Sequence[int]], LanguageTask],
        given: np.ndarray,
        index: np.ndarray,
        folder: Path,
    ) -> CalibrationRecord:
        settings = self.settings
        with self.clock.part("calibration"):
            return calibrate(
                make_task,
                given,
                index,
                settings.shadow_recipe(),
                folder / "shadows",
                shadows=settings.shadows,
                drop=settings.drop,
                directions=settings.psmi_directions,
                seed=settings.seed,
                on_progress=self.on_progress,
                should_stop=self.should_stop,
            )

    def _with_neighbours(self, scores: pd.DataFrame) -> pd.DataFrame:
        """The table of the user's samples: who they are, their scores, and the most similar other sample."""
        items = self.items
        n = len(items)
        wanted = looked_for(scores["flagged"].to_numpy())
        nearest = nearest_texts(items["text"].tolist(), wanted, seed=self.settings.seed)
        ids = np.array([*items["item_id"], None], dtype=object)
        table = pd.DataFrame(
            {"sample_id": np.arange(n, dtype=np.int64), "item_id": items["item_id"].to_numpy()}
        )
        if self.settings.show_text:
            table["text"] = items["text"].to_numpy()
        table["label"] = items["label"].to_numpy()
        table = pd.concat([table, scores.reset_index(drop=True)], axis=1)
        table["nearest"] = ids[nearest.place]
        table["similarity"] = nearest.similarity
        table["copies"] = items.groupby("text")["text"].transform("size").to_numpy() - 1
        return table

    def _data_record(self, answers: Answers, n_cut: int) -> DataRecord:
        counts = self.items["label"].value_counts().sort_index()
        return DataRecord(
            source=self.source,
            rows=len(self.items),
            sha256=self.sha256,
            text_column=self.columns[0],
            label_column=self.columns[1],
            labels={str(name): int(count) for name, count in counts.items()},
            answers=answers.kind,
            answers_in_words=answers.sentence,
            template=answers.template,
            cut_prompts=n_cut,
        )

    def _told(self, done: int, total: int, unit: str) -> None:
        if self.on_progress is not None:
            self.on_progress(done, total, unit)


def _make_task(
    model: AuditedModel, tokens: TokenizedSamples, settings: AuditSettings, seeds: Sequence[int]
) -> LanguageTask:
    """Untrained adapters of some seeds on a copy of the base model of their own."""
    return LanguageTask(model.fresh(), tokens, settings.lora, seeds=seeds, base_name=model.name)


def _device(settings: AuditSettings) -> str:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device is cuda, but torch finds no GPU here; use auto or cpu, or run where there is one"
        )
    return "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
