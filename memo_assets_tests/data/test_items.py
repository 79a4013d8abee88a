import math

import numpy as np
import pandas as pd
import pytest

from memo_assets.config import CitiesData, DigitsData, TableData
from memo_assets.data.errors import DataError
from memo_assets.data.items import check_items, load_items


def frame(n=24):
    return pd.DataFrame(
        {
            "item_id": [f"i{k}" for k in range(n)],
            "text": [f"text {k}" for k in range(n)],
            "label": ["yes" if k % 2 else "no" for k in range(n)],
            "options": [["no", "yes"] for _ in range(n)],
        },
        dtype=object,
    )


def images(n=24):
    made = frame(n).drop(columns="text")
    made["image"] = pd.Series([np.full(4, k / n, dtype=np.float32) for k in range(n)], dtype=object)
    return made


def message(items):
    with pytest.raises(DataError) as caught:
        check_items(items, where="FILE")
    return str(caught.value)


def spoiled(column, row, value, items=None):
    items = frame() if items is None else items
    values = items[column].tolist()
    values[row] = value
    return items.assign(**{column: pd.Series(values, dtype=object)})


def test_good_items_pass():
    check_items(frame(), where="FILE")
    check_items(images(), where="FILE")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (frame().drop(columns="label"), "column 'label' is missing"),
        (frame().iloc[:0], "no rows"),
        (frame(12), "12 rows are too few to split"),
        (spoiled("text", 3, "  \n"), "one row, row 3 from 0 (id 'i3'), with an empty text"),
        (spoiled("text", 3, None), "row 3 from 0 (id 'i3'), without a value for text"),
        (spoiled("text", 5, 1.5), "row 5 from 0 (id 'i5'), whose text is 1.5 (float), no string"),
        (spoiled("label", 5, math.nan), "row 5 from 0 (id 'i5'), without a value for label"),
        (spoiled("label", 5, 7), "whose label is 7 (int), no string"),
        (spoiled("label", 5, " yes"), "white space around the label"),
        (spoiled("label", 5, "maybe"), "'maybe' is none of ['no', 'yes']"),
        (spoiled("options", 4, ["no"]), "row 4 from 0 (id 'i4'), with fewer than two options"),
        (spoiled("options", 4, ["no", "yes", "no"]), "an option that occurs twice"),
        (spoiled("options", 4, ["no", 2]), "is no string"),
        (spoiled("options", 4, [f"o{k}" for k in range(17)]), "17 options (o0, o1, o2, ...), more than 16"),
        (frame().assign(label="yes"), "all labels are 'yes'"),
        (spoiled("item_id", 3, None), "without a value for item_id"),
    ],
)
def test_each_problem_has_one_sentence(items, expected):
    text = message(items)
    assert text.startswith("FILE: ")
    assert expected in text
    assert "\n" not in text


def test_duplicate_ids_are_named_up_to_three():
    items = frame()
    items["item_id"] = [f"i{k // 2}" for k in range(24)]
    assert "occur more than once: 'i0', 'i1', 'i2' and 9 more" in message(items)


def test_all_problems_are_told_at_once():
    items = spoiled("label", 5, "maybe", spoiled("text", 7, "", spoiled("text", 3, "")))
    lines = message(items).splitlines()
    assert lines[0] == "FILE: 2 problems"
    assert "there are 2 rows, the first row 3 from 0 (id 'i3'), with an empty text" in lines[1]
    assert "'maybe'" in lines[2]


def test_pixels_must_be_finite():
    items = images()
    items["image"].iloc[6][2] = np.nan
    assert "one row, row 6 from 0 (id 'i6'), with a pixel that is nan or infinite" in message(items)


def test_images_must_have_one_shape():
    items = spoiled("image", 6, np.zeros(5, dtype=np.float32), images())
    assert "row 6 from 0 (id 'i6'), with an image of another shape than the first, (4,)" in message(items)


def test_digits():
    items = load_items(DigitsData(source="digits", items=None), 0, None)  # pyright: ignore[reportArgumentType]
    assert items.background is None
    assert len(items.frame) == 1797
    pixels = np.stack(items.frame["image"].to_list())
    assert pixels.shape == (1797, 64)
    assert pixels.dtype == np.float32
    assert (pixels.min(), pixels.max()) == (0.0, 1.0)
    assert pixels[0, 2] == 5 / 16  # the first image, a zero, opens with 0, 0, 5, 13
    assert items.frame["label"].iloc[:3].tolist() == ["0", "1", "2"]
    assert items.frame["options"].iloc[5] == list("0123456789")


def test_fewer_digits_and_too_many(tmp_path):
    assert len(load_items(DigitsData(source="digits", items=100), 0, tmp_path).frame) == 100
    with pytest.raises(DataError, match=r"data.items = 1798, but scikit-learn's digits hold 1797"):
        load_items(DigitsData(source="digits", items=1798), 0, tmp_path)


def test_cities_bring_a_background(tmp_path):
    items = load_items(CitiesData(source="cities", countries=["DE", "BR"], items=20), 0, tmp_path)
    assert items.background is not None
    assert set(items.background["label"]) == {"Germany", "Brazil"}


def test_errors_of_a_table_name_its_columns(tmp_path):
    (tmp_path / "t.csv").write_text("q,a\n" + "x,yes\n ,no\n" * 12)
    data = TableData(source="table", path="t.csv", text="q", label="a", options=None, id=None)
    with pytest.raises(DataError) as caught:
        load_items(data, 0, tmp_path)
    assert str(caught.value).startswith(
        f"{tmp_path / 't.csv'} (text: column 'q', label: column 'a', id: row number): there are 12 rows, the first "
        "row 1 from 0 (id '1'), with an empty text"
    )
