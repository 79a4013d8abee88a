"""Files cut off, emptied and with other bytes: the next command that reads one names it and the way out, or repairs it.

What the sentence says is done, and the same command then ends well, with the results of an undisturbed run.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from memo_assets_tests.faults.command import LONG, Place
from memo_assets_tests.faults.conftest import CopyOf, Finished
from memo_assets_tests.faults.sameness import assert_same

DATABASE = "../../memo.duckdb"


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    study: a study that has it.
    path: below the study's artifacts; the first that fits.
    lost: what is lost beside it, so that it must be read again.
    repaired: whether it is made anew without a word; else it is named.
    """

    study: str
    path: str
    lost: str = ""
    repaired: bool = False


KINDS = {
    "items": Kind("tiny", "raw_dataset/items.parquet", "samples.parquet"),
    "samples": Kind("tiny", "samples.parquet", "adapters/seed=2/training.json"),
    "split mask": Kind("tiny", "split_masks/seed=2.parquet", "logits/seed=2.parquet"),
    "logits": Kind("tiny", "logits/seed=2.parquet", DATABASE),
    "layer scores": Kind("tiny", "layer_scores/seed=0.parquet", DATABASE),
    "layer summary": Kind("tiny", "layer_scores/seed=0.summary.parquet", DATABASE),
    "weights": Kind("tiny", "adapters/seed=2/epoch=1/*.safetensors", "logits/seed=2.parquet"),
    "training log": Kind("tiny", "adapters/seed=2/training.json", DATABASE),
    "adapter": Kind("towns", "adapters/seed=2/epoch=1/adapter_model.safetensors", "logits/seed=2.parquet"),
    "adapter configuration": Kind(
        "towns", "adapters/seed=2/epoch=1/adapter_config.json", "logits/seed=2.parquet"
    ),
    "which base model": Kind("towns", "base_model.json", "logits/seed=2.parquet"),
    "base model": Kind("towns", "base_models/*/model.safetensors", "adapters/seed=2/training.json"),
    "tokenizer": Kind("towns", "base_models/*/tokenizer.json", "adapters/seed=2/training.json"),
    "background": Kind("towns", "raw_dataset/background.parquet", "base_model.json"),
    "ledger": Kind("tiny", "work/ledger/logits/seed=2.json", "logits/seed=2.parquet"),
    "result of a worker": Kind("tiny", "work/logits-0-*/result.json", "logits/seed=2.parquet", repaired=True),
    "outputs of the base model": Kind(
        "towns", "work/base_outputs/*.parquet", "logits/seed=2.parquet", repaired=True
    ),
    "database": Kind("tiny", DATABASE),
}


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def nothing(content: bytes) -> bytes:
    return b""


def flipped(content: bytes) -> bytes:
    """Every bit of sixteen bytes turned, beginning in the middle of each of 64 pieces."""
    changed, piece = bytearray(content), max(len(content) // 64, 24)
    for start in range(piece // 2, len(content), piece):
        for at in range(start, min(start + 16, len(content))):
            changed[at] ^= 0xFF
    return bytes(changed)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {"half": half, "nothing": nothing, "flipped": flipped}
SHORT = {("weights", "flipped"), ("database", "flipped")}
CASES = [
    pytest.param(kind, damage, id=f"{kind}-{damage}")
    for kind in KINDS
    for damage in DAMAGES
    # Flipped bytes of base outputs are no damage that could be seen: nothing speaks of their content.
    if (LONG or (kind, damage) in SHORT) and (kind, damage) != ("outputs of the base model", "flipped")
]


@pytest.mark.parametrize(("kind", "damage"), CASES)
def test_a_damaged_file_is_named_and_what_the_sentence_says_helps(
    finished: Finished, copy_of: CopyOf, kind: str, damage: str
) -> None:
    case = KINDS[kind]
    there = copy_of(case.study)
    path = found(there, case.path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    if case.lost:
        found(there, case.lost).unlink()
    if not case.repaired:
        sentence = there.demo().sentence
        remove = to_remove(there, sentence)
        assert any(path == named or path.is_relative_to(named) for named in remove), sentence
        for named in remove:
            (shutil.rmtree if named.is_dir() else Path.unlink)(named)
    there.well()
    assert_same(there.warehouse, finished(case.study).warehouse, case.study)


@pytest.mark.parametrize("damage", DAMAGES if LONG else ["flipped"])
def test_a_damaged_study_file_is_named(copy_of: CopyOf, damage: str) -> None:
    there = copy_of("tiny")
    whole = there.study.read_bytes()
    there.study.write_bytes(DAMAGES[damage](whole))
    assert str(there.study) in there.demo().sentence
    there.study.write_bytes(whole)
    assert "everything is fresh" in there.well().out


def found(there: Place, pattern: str) -> Path:
    """The first file of a pattern below the study's artifacts."""
    if pattern == DATABASE:
        return there.warehouse / "memo.duckdb"
    return min(there.artifacts.glob(pattern))


def to_remove(there: Place, sentence: str) -> list[Path]:
    """The files and folders that a sentence says to remove: those it names before it says so."""
    before = re.split(r"\b(?:remove|move) (?:it|the file|all of them)\b", sentence)
    assert len(before) > 1, sentence
    paths = re.findall(rf"{re.escape(str(there.warehouse))}[^\s:;,)]*", before[0])
    return [path for path in dict.fromkeys(map(Path, paths)) if path.exists()]
