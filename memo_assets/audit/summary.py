"""The summary of an audit as versioned JSON: its schema, its content hash, and the check of both.

What belongs here: every field that a pipeline may read. What does not: how the figures are found.

A change that takes a field away or gives it another meaning raises the first number of `SCHEMA_VERSION`, a new field the
second.
"""

import hashlib
import json
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from memo_assets.measures.intervals import Rate

SCHEMA_VERSION = "1.0"
Expected = Literal["flagged", "not flagged", "either"]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RateRecord(_Block):
    """A rate with its interval, or the reason why there is none."""

    value: float | None = Field(ge=0, le=1)
    low: float | None = Field(ge=0, le=1)
    high: float | None = Field(ge=0, le=1)
    successes: int = Field(ge=0)
    trials: int = Field(ge=0)
    method: str
    refused: str | None = None

    @classmethod
    def of(cls, rate: Rate) -> "RateRecord":
        """The record of a rate."""
        return cls(**asdict(rate))


class DataRecord(_Block):
    """What was audited. sha256: of the rows (id, text, label), whatever file they came from."""

    source: str
    rows: int
    sha256: str
    text_column: str
    label_column: str
    labels: dict[str, int]
    answers: Literal["labels", "letters"]
    answers_in_words: str
    template: str
    cut_prompts: int


class ModelRecord(_Block):
    """The model. parameters: all weights of the base model; in the audit of a study, those that are trained."""

    name: str
    version: str
    parameters: int
    note: str | None


class RunRecord(_Block):
    """The training run. reached: whether the median loss fell by `drop`; message: what that means for the reader."""

    rule: Literal["running", "checkpoint"]
    drop: float
    reached: bool
    epoch: float
    steps: int
    steps_of_all_epochs: int
    reference_loss: float
    median_loss: float
    message: str


class RiskRecord(_Block):
    """Samples flagged by the default rule. The share is of this data set; its interval is for data drawn alike."""

    rule: str
    share: RateRecord
    unscored: int
    suspected_label_errors: int
    exact_duplicates: int


class ControlRecord(_Block):
    """One kind of planted sample, and how many of them were flagged; expected: whether they should be."""

    kind: str
    meaning: str
    expected: Expected
    flagged: RateRecord
    suspected: RateRecord


class CalibrationRecord(_Block):
    """The rule judged by labels of few shadow models: each model in turn is the target of an attack by the others."""

    shadows: int
    epochs: int
    labels: str
    reached: int
    memorized_share: float
    precision: RateRecord
    recall: RateRecord
    false_positive_rate: RateRecord
    note: str


class CostRecord(_Block):
    """What the audit took. of_full_run: training steps over those of the planned epochs."""

    seconds: float
    seconds_by_part: dict[str, float]
    peak_memory_bytes: int
    samples_trained: int
    samples_run_forward: int
    of_full_run: float


class AuditSummary(_Block):
    """All that an audit found, but for the samples themselves."""

    schema_version: Literal["1.0"] = SCHEMA_VERSION
    created: str
    data: DataRecord
    model: ModelRecord
    run: RunRecord
    risk: RiskRecord
    controls: list[ControlRecord]
    controls_refused: str | None
    calibration: CalibrationRecord | None
    cost: CostRecord
    tested: list[str]
    not_tested: list[str]
    settings: dict[str, Any]
    versions: dict[str, str]
    files: dict[str, str] = Field(default={}, description="SHA-256 of the files beside this one, by name.")
    content_hash: str = Field(default="", description="SHA-256 of this record without this field.")

    def sealed(self, files: dict[str, str]) -> "AuditSummary":
        """The summary with the hashes of its files and, over all of it, its own."""
        whole = self.model_copy(update={"files": files, "content_hash": ""})
        return whole.model_copy(update={"content_hash": whole.hash()})

    def hash(self) -> str:
        """SHA-256 over all fields but the hash itself, as JSON with sorted keys."""
        content = self.model_dump(mode="json", exclude={"content_hash"})
        return hashlib.sha256(
            json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
        ).hexdigest()


def json_schema() -> str:
    """The JSON schema of the summary, as text."""
    return json.dumps(AuditSummary.model_json_schema(), indent=1, sort_keys=True) + "\n"
