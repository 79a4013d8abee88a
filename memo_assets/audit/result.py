"""What an audit found, and the files it is written to.

What belongs here: tables, summary, writing and checking a folder of results. What does not: the page (`figures.audit_report`),
how anything is found (`engine`).
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pydantic import ValidationError

from memo_assets.audit.summary import AuditSummary
from memo_assets.store.files import write_bytes, write_parquet, write_text

SUMMARY, CSV, PARQUET, PAGE = "audit.json", "at_risk.csv", "at_risk.parquet", "report.html"


class VerifyError(ValueError):
    """A report that is not what it says; the message names the file and what differs."""


@dataclass(frozen=True, eq=False)
class AuditResult:
    """What an audit found.

    Attributes:
        summary: all figures, as they go to audit.json.
        at_risk: one row a sample of the user's, most at risk first: rank, sample_id (row number from 0), item_id, text (if the
            settings allow it), label, flagged, psmi and its quantiles, the other predictors, nearest (item_id of the most similar
            other sample), similarity, copies (other rows of the same text), suspected_label.
        planted: the planted samples with their scores: canary (the kind), label, flagged, psmi, loss, suspected_label.
        losses: epoch, median_loss of each forward pass.
    """

    summary: AuditSummary
    at_risk: pd.DataFrame
    planted: pd.DataFrame
    losses: pd.DataFrame

    @property
    def flagged(self) -> pd.DataFrame:
        """The samples at risk by the default rule, most at risk first."""
        return self.at_risk[self.at_risk["flagged"]]

    def save(self, directory: str | Path) -> Path:
        """Write at_risk.csv, at_risk.parquet, report.html and, last, audit.json; each whole or not at all.

        Args:
            directory: made if it is missing; files of these names are replaced.

        Returns:
            The path of audit.json.
        """
        from memo_assets.figures.audit_report import audit_html

        folder = Path(directory)
        write_bytes(folder / CSV, _csv(self.at_risk))
        write_parquet(folder / PARQUET, pa.Table.from_pandas(self.at_risk, preserve_index=False))
        page = audit_html(self.summary.model_dump(mode="json"), self.at_risk, self.losses)
        write_text(folder / PAGE, page)
        files = {name: _sha256(folder / name) for name in (CSV, PARQUET, PAGE)}
        write_text(folder / SUMMARY, self.summary.sealed(files).model_dump_json(indent=1) + "\n")
        return folder / SUMMARY


def verify(report: str | Path) -> AuditSummary:
    """Check that a report is whole: schema, its own hash, the files beside it, and its share of flagged samples.

    Whoever changes a report can write a new hash as well: it tells damage and slips, not forgery. Compare the hash with one
    that was kept elsewhere for that.

    Args:
        report: an audit.json, or the folder that holds it.

    Returns:
        The summary.

    Raises:
        VerifyError: the first thing that differs.
    """
    path = Path(report)
    path = path / SUMMARY if path.is_dir() else path
    if not path.is_file():
        raise VerifyError(f"no file {path}: give the folder of a report, or its {SUMMARY}")
    try:
        summary = AuditSummary.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise VerifyError(
            f"{path}: {place}: {first['msg']}; it is no report of this version, or damaged"
        ) from error
    if summary.hash() != summary.content_hash:
        raise VerifyError(
            f"{path}: content_hash is {summary.content_hash}, but its content has {summary.hash()}: it was changed after it was "
            "written"
        )
    for name, expected in summary.files.items():
        if Path(name).name != name:
            raise VerifyError(f"{path}: files: {name!r} is no plain file name")
        beside = path.parent / name
        if not beside.is_file():
            raise VerifyError(f"{path}: {name} is not beside it; copy the whole folder")
        if (found := _sha256(beside)) != expected:
            raise VerifyError(f"{beside}: SHA-256 is {found}, but the report says {expected}: it was changed")
    if PARQUET in summary.files:
        flagged = pd.read_parquet(path.parent / PARQUET, columns=["flagged"])["flagged"]
        share = summary.risk.share
        if (int(flagged.sum()), len(flagged)) != (share.successes, share.trials):
            raise VerifyError(
                f"{path}: {share.successes} of {share.trials} samples flagged, but {PARQUET} flags {int(flagged.sum())} of "
                f"{len(flagged)}"
            )
    return summary


def _csv(table: pd.DataFrame) -> bytes:
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, float_format="%.9g")
    return buffer.getvalue().encode()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
