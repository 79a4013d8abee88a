"""Tables of the report: from a data frame to columns and cells of text.

What belongs here: digits, alignment, tiny pictures. What does not: the page around them (`report`).
"""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from memo_assets.figures.frames import require_columns
from memo_assets.figures.theme import predictor_color, predictor_label

NONE = "\N{EN DASH}"
_SPACE = "\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True)
class Cell:
    """One cell: its text and, at most, a picture (data URI), a bar (share of the width) or a kind of its own."""

    text: str
    picture: str | None = None
    bar: float | None = None
    kind: str = ""
    color: str = ""


@dataclass(frozen=True)
class Column:
    """Heading of a column, whether it holds numbers (right-aligned), and a sentence shown on hovering."""

    heading: str
    is_number: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows, ready for the template."""

    columns: list[Column]
    rows: list[list[Cell]]


def number(value: Any, digits: int = 3) -> str:
    """A number with `digits` significant digits and grouped thousands; whole numbers in full; a dash for none."""
    if value is None or pd.isna(value):
        return NONE
    value = float(value)
    if not np.isfinite(value):
        return "\N{INFINITY}" if value > 0 else "\N{MINUS SIGN}\N{INFINITY}"
    if value == int(value) and abs(value) < 1e15:
        text = f"{int(value):,}"
    elif abs(value) >= 10**digits:
        text = f"{value:,.0f}"
    elif abs(value) < 1e-4:
        text = f"{value:.{digits - 1}e}"
    else:
        places = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
        text = f"{value:.{places}f}"
    return _typeset(text)


def fixed(value: Any, places: int = 3) -> str:
    """A number with fixed decimal places, so that a column of them lines up; a dash for none."""
    if value is None or pd.isna(value):
        return NONE
    return _typeset(f"{float(value):,.{places}f}")


def _typeset(text: str) -> str:
    return text.replace(",", _SPACE).replace("-", "\N{MINUS SIGN}")


def percent(share: Any, places: int = 1) -> str:
    """A share in [0, 1] as `12.3 %`; a dash for none."""
    if share is None or pd.isna(share):
        return NONE
    return f"{100 * float(share):.{places}f}{_SPACE}%"


def plain_table(frame: pd.DataFrame) -> Table:
    """Any data frame as it is: numeric columns right-aligned, column names with spaces for underscores.

    A numeric column has as many decimal places as its values need, if that is two or fewer (epochs, counts); else each
    value has three significant digits.
    """
    columns, texts = [], []
    for name in frame.columns:
        values = frame.loc[:, name]
        is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        columns.append(Column(str(name).replace("_", " "), is_number))
        texts.append(_numbers(values) if is_number else [text_of(value) for value in values])
    return Table(columns, [[Cell(text) for text in row] for row in zip(*texts, strict=True)])


def _numbers(values: pd.Series) -> list[str]:
    known = values.astype("float64").to_numpy()
    known = known[np.isfinite(known)]
    places = next(
        (places for places in range(3) if np.allclose(known, known.round(places), rtol=0, atol=1e-9)), None
    )
    if places is None or not np.isfinite(values.dropna().astype("float64")).all():
        return [number(value) for value in values]
    return [fixed(value, places) for value in values]


def evaluation_table(frame: pd.DataFrame, tpr: float) -> Table:
    """Predictors, best AUC first.

    Args:
        frame: predictor, layer (null where it has none), auc, fpr_at_tpr, tpr_at_fpr_01; other columns are ignored.
        tpr: TPR objective that fpr_at_tpr belongs to.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(frame, ["predictor", "layer", "auc", "fpr_at_tpr", "tpr_at_fpr_01"], "evaluation")
    columns = [
        Column("Predictor"),
        Column("AUC", True, "Area under the ROC curve: 1 is perfect, 0.5 is chance"),
        Column(
            f"FPR at TPR {tpr:g}",
            True,
            "Share of the others flagged when this share of the memorized is found",
        ),
        Column("TPR at 1 % FPR", True, "Share of the memorized found when 1 % of the others are flagged"),
    ]
    rows = [
        [
            Cell(predictor_label(row["predictor"], row["layer"]), color=predictor_color(row["predictor"])),
            Cell(fixed(row["auc"]), bar=None if pd.isna(row["auc"]) else float(row["auc"])),
            Cell(fixed(row["fpr_at_tpr"])),
            Cell(fixed(row["tpr_at_fpr_01"])),
        ]
        for row in frame.sort_values("auc", ascending=False, kind="stable").to_dict("records")
    ]
    return Table(columns, rows)


def at_risk_table(frame: pd.DataFrame) -> Table:
    """The samples most at risk, in the order given.

    Args:
        frame: sample_id, given_label, true_label (null if unknown), label_status ('true', 'random' or 'canary'), psmi, log_lira
            (null if there are no shadow models); optionally text (string) and image (array as `picture` takes it).

    Raises:
        ValueError: A column is missing.
    """
    needed = ["sample_id", "given_label", "true_label", "label_status", "psmi", "log_lira"]
    require_columns(frame, needed, "at_risk")
    shows_image, shows_text = "image" in frame, "text" in frame
    columns = [Column("Sample")]
    columns += [Column("Image")] * shows_image + [Column("Text")] * shows_text
    columns += [
        Column("Given label"),
        Column("True label"),
        Column("Status", hint="noisy: the label was drawn at random; canary: a picture of no class"),
        Column("PSMI", True, "Below 0: predicted to be memorized"),
        Column("log-LiRA", True, "How surely an attacker can tell that the sample was trained on"),
    ]
    rows = []
    for row in frame.to_dict("records"):
        cells = [Cell(str(row["sample_id"]))]
        if shows_image:
            cells.append(Cell(f"sample {row['sample_id']}", picture=picture(row["image"])))
        if shows_text:
            cells.append(Cell(text_of(row["text"]), kind="long"))
        status = {"random": Cell("noisy", kind="noisy"), "true": Cell("true")}.get(row["label_status"])
        cells += [
            Cell(text_of(row["given_label"])),
            Cell(text_of(row["true_label"])),
            status or Cell(text_of(row["label_status"])),
            Cell(fixed(row["psmi"])),
            Cell(fixed(row["log_lira"], 2)),
        ]
        rows.append(cells)
    return Table(columns, rows)


def text_of(value: object) -> str:
    """Text of a cell that is not a number; a dash for none."""
    return (
        NONE
        if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))
        else str(value)
    )


def picture(pixels: np.ndarray) -> str:
    """An image as the data URI of a PNG.

    Args:
        pixels: [H, W], ink on paper: the largest value is black, 0 white; or [C, H, W] with values in [0, 1], shown as
            they are: grey (C = 1) or red, green and blue (C = 3).

    Raises:
        ValueError: the array has another shape.
    """
    pixels = np.asarray(pixels, dtype=np.float64)
    if not pixels.size or not (pixels.ndim == 2 or (pixels.ndim == 3 and len(pixels) in (1, 3))):
        raise ValueError(
            f"a picture needs an array [height, width] or [1 or 3, height, width]; this one has shape {pixels.shape}"
        )
    if pixels.ndim == 2:
        shares = 1 - np.clip(pixels / max(pixels.max(), 1e-12), 0, 1)
    else:
        shares = np.clip(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0), 0, 1)
    buffer = io.BytesIO()
    Image.fromarray(np.round(255 * shares).astype(np.uint8)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
