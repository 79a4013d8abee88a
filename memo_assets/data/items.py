"""The labelled items of a study, whatever their source, and the checks that all of them must pass.

What belongs here: the common form `Items`, the choice of the source, `check_items`. What does not: reading one
source (`cities`, `digits`, `hub`, `images`, `table`), prompts, noise and splits (`samples`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from memo_assets.config import MAX_OPTIONS, CitiesData, DigitsData, HubData, ImagesData, TableData
from memo_assets.data.cities import load_cities
from memo_assets.data.digits import load_digits
from memo_assets.data.errors import DataError
from memo_assets.data.hub import load_hub
from memo_assets.data.images import load_images
from memo_assets.data.table import load_table

MIN_ROWS = 20
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Items:
    """Labelled items; the row's position is its sample_id.

    frame: columns item_id (str, unique), text (str) or image (float32 array), label (str), options (list of str);
        and, where options are mere letters, choices (list of str), what each option stands for; where images are not
        square or have colours, image_shape (channels, height, width); where the source has test samples of its own,
        is_test (bool).
    background: columns text and label, for pretraining a base model on what the study does not use; or None.
    """

    frame: pd.DataFrame
    background: pd.DataFrame | None


def load_items(
    data: CitiesData | DigitsData | HubData | ImagesData | TableData, data_seed: int, base_dir: Path
) -> Items:
    """Load the items of a study and check them.

    Args:
        data: the source.
        data_seed: seed of the draw of items, where the source has more than the study uses.
        base_dir: what the path of a table is relative to.

    Returns:
        The items, in the order that fixes sample_id.

    Raises:
        DataError: the source cannot be read, or holds what no study can use.
    """
    background = None
    if isinstance(data, CitiesData):
        frame, background = load_cities(data, data_seed)
        where = f"cities of {', '.join(data.countries)}"
    elif isinstance(data, DigitsData):
        frame = load_digits(data)
        where = "digits"
    elif isinstance(data, HubData):
        frame = load_hub(data)
        where = f"data set {data.name} ({', '.join(data.splits)})"
    elif isinstance(data, ImagesData):
        frame = load_images(data)
        where = f"data set {data.name} ({', '.join(data.all_splits)})"
    else:
        frame = load_table(data, base_dir)
        source_of_id = f"column {data.id!r}" if data.id else "row number"
        where = f"{base_dir / data.path} (text: column {data.text!r}, label: column {data.label!r}, id: {source_of_id})"
    check_items(frame, where=where)
    return Items(frame, background)


def check_items(frame: pd.DataFrame, *, where: str, is_split: bool = True) -> None:
    """Refuse items that no study can use.

    Args:
        frame: as in `Items`.
        where: what the message calls the source, such as the path of the file.
        is_split: whether test samples and shares for several models are to be taken of them.

    Raises:
        DataError: with every problem found, one sentence each: what, in which rows, what to do.
    """
    problems = list(_problems(frame, is_split=is_split))
    if len(problems) == 1:
        raise DataError(f"{where}: {problems[0]}")
    if problems:
        raise DataError("\n- ".join([f"{where}: {len(problems)} problems", *problems]))


def _problems(frame: pd.DataFrame, *, is_split: bool) -> Iterator[str]:
    content = "image" if "image" in frame else "text"
    lacking = [name for name in ("item_id", content, "label", "options") if name not in frame]
    if lacking:
        yield f"column {lacking[0]!r} is missing; the columns are {list(frame.columns)}"
        return
    if frame.empty:
        yield f"there are no rows: give at least {MIN_ROWS}"
        return
    yield from _size_problems(frame, is_split=is_split)
    yield from _id_problems(frame)
    yield from _image_problems(frame) if content == "image" else _text_problems(frame)
    yield from _label_problems(frame)


def _size_problems(frame: pd.DataFrame, *, is_split: bool) -> Iterator[str]:
    if not is_split:
        if len(frame) < MIN_ROWS:
            yield f"{len(frame)} rows are too few to compare with one another: give at least {MIN_ROWS}"
        return
    if "is_test" not in frame:
        if len(frame) < MIN_ROWS:
            yield (
                f"{len(frame)} rows are too few to split: one in nine becomes a test sample and the models train on "
                f"shares of the rest; give at least {MIN_ROWS}"
            )
        return
    n_test = int(frame["is_test"].sum())
    if len(frame) - n_test < MIN_ROWS:
        yield (
            f"{len(frame) - n_test} rows beside the test samples are too few: the models train on shares of them; give "
            f"at least {MIN_ROWS}"
        )
    if not n_test:
        yield "the test splits hold no rows: name others, or leave data.test_splits out"


def _id_problems(frame: pd.DataFrame) -> Iterator[str]:
    ids = frame["item_id"]
    yield from _not_strings(frame, "item_id")
    repeated = ids[ids.notna() & ids.duplicated()].drop_duplicates()
    if len(repeated):
        shown = ", ".join(repr(value) for value in repeated.iloc[:_SHOWN])
        more = f" and {len(repeated) - _SHOWN} more" if len(repeated) > _SHOWN else ""
        yield f"ids must be unique, but these occur more than once: {shown}{more}; make them unique or leave data.id out"


def _text_problems(frame: pd.DataFrame) -> Iterator[str]:
    yield from _not_strings(frame, "text")
    blank = frame["text"].map(lambda value: isinstance(value, str) and not value.strip())
    if blank.any():
        yield f"{_rows(frame, blank)} with an empty text; fill it in or remove the row"


def _image_problems(frame: pd.DataFrame) -> Iterator[str]:
    shapes = [tuple(shape) for shape in frame.get("image_shape", frame["image"].map(np.shape))]
    other = pd.Series([shape != shapes[0] for shape in shapes], index=frame.index)
    if other.any():
        yield f"{_rows(frame, other)} with an image of another shape than the first, {shapes[0]}; resize them"
        return
    finite = [bool(np.isfinite(np.asarray(image, dtype=np.float64)).all()) for image in frame["image"]]
    bad = ~pd.Series(finite, index=frame.index)
    if bad.any():
        yield f"{_rows(frame, bad)} with a pixel that is nan or infinite; mend or remove the image"


def _label_problems(frame: pd.DataFrame) -> Iterator[str]:
    yield from _not_strings(frame, "label")
    valid = frame["label"].map(lambda value: isinstance(value, str))
    blank = frame["label"].map(lambda value: isinstance(value, str) and not value.strip())
    padded = blank | frame["label"].map(lambda value: isinstance(value, str) and value != value.strip())
    if blank.any():
        yield f"{_rows(frame, blank)} with an empty label; fill it in or remove the row"
    if (padded & ~blank).any():
        yield f"{_rows(frame, padded & ~blank)} with white space around the label; strip it"
    classes = frame.loc[valid & ~blank, "label"].unique()
    if len(classes) == 1:
        yield f"all labels are {classes[0]!r}; a study needs at least two classes"
        return
    options = frame["options"].map(
        lambda value: tuple(value) if isinstance(value, (list, np.ndarray)) else ()
    )
    for given in options.unique():
        problem = _options_problem(given)
        if problem:
            yield f"{_rows(frame, options.map(lambda value, bad=given: value == bad))} with {problem}"
            return  # labels cannot be judged by wrong options
    pairs = zip(frame["label"], options, strict=True)
    stray = valid & ~padded & pd.Series([label not in given for label, given in pairs], index=frame.index)
    if stray.any():
        first = int(np.argmax(stray))
        yield (
            f"{_rows(frame, stray)} with a label that is not among the options: {frame['label'].iloc[first]!r} is "
            f"none of {list(options.iloc[first])}; correct the label or add it to the options"
        )


def _options_problem(options: tuple) -> str | None:
    shown = list(options[:MAX_OPTIONS])
    if len(options) < 2:
        return f"fewer than two options, {shown}; give at least two"
    if len(options) > MAX_OPTIONS:
        return (
            f"{len(options)} options ({', '.join(map(str, options[:_SHOWN]))}, ...), more than {MAX_OPTIONS}; merge "
            f"labels, or choose a column with fewer distinct labels"
        )
    if not all(isinstance(option, str) and option and option == option.strip() for option in options):
        return f"an option that is empty, has white space around it or is no string, {shown}; mend it"
    if len(set(options)) < len(options):
        return f"an option that occurs twice, {shown}; list each once"
    return None


def _not_strings(frame: pd.DataFrame, column: str) -> Iterator[str]:
    missing = frame[column].isna()
    if missing.any():
        yield f"{_rows(frame, missing)} without a value for {column}; fill it in or remove the row"
    other = ~missing & ~frame[column].map(lambda value: isinstance(value, str))
    if other.any():
        value = frame[column].iloc[int(np.argmax(other))]
        yield (
            f"{_rows(frame, other)} whose {column} is {value!r} ({type(value).__name__}), no string; write it as a "
            f"string"
        )


def _rows(frame: pd.DataFrame, mask: pd.Series) -> str:
    """How many rows a mask holds, and which is the first."""
    count, first = int(mask.sum()), int(np.argmax(mask))
    noun = f"{count} rows, the first" if count > 1 else "one row,"
    return f"there {'are' if count > 1 else 'is'} {noun} row {first} from 0 (id {frame['item_id'].iloc[first]!r}),"
