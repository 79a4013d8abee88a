"""Pictures read from a data set, against pixels worked out by hand."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Pillow

from memo_assets.config import ImagesData
from memo_assets.data.errors import DataError, DataMissingError
from memo_assets.data.images import image_shape, load_images
from memo_assets.data.items import Items, load_items
from memo_assets.data.samples import build_samples, samples_table
from memo_assets.data.splits import pool_and_test
from memo_assets_tests.studies import DIGITS, study

from .pictures import NAMES, colours, picture, picture_rows, save_pictures, settings

# Two by two, red, green and blue from 0 to 255.
COLOUR = [[[255, 0, 51], [0, 102, 0]], [[204, 0, 0], [0, 0, 255]]]
GREY = [[0, 51, 255], [102, 204, 0]]


def data(folder: Path, **changes: object) -> ImagesData:
    return ImagesData.model_validate(settings(folder, **changes))


def one(folder: Path, made: Pillow.Image) -> pd.Series:
    """The item of a data set of one picture."""
    return load_images(data(save_pictures(folder, {"train": [(made, 0)]}))).iloc[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures to train on and 12 to test on."""
    folder = tmp_path_factory.mktemp("pictures") / "made"
    return save_pictures(folder, {"train": colours(60, 0), "test": colours(12, 1)})


def test_colours_lie_channel_after_channel(tmp_path: Path) -> None:
    item = one(tmp_path / "made", picture(COLOUR))
    assert tuple(item["image_shape"]) == (3, 2, 2)
    assert item["image"].dtype == np.float32
    red, green, blue = [1, 0, 0.8, 0], [0, 0.4, 0, 0], [0.2, 0, 0, 1]
    np.testing.assert_allclose(item["image"], [*red, *green, *blue], rtol=1e-7)
    assert (item["item_id"], item["label"], item["options"]) == ("train/0", "red", NAMES)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_stays_one_channel(tmp_path: Path, mode: str) -> None:
    item = one(tmp_path / "made", picture(GREY, mode))
    assert tuple(item["image_shape"]) == (1, 2, 3)
    np.testing.assert_allclose(item["image"], [0, 0.2, 1, 0.4, 0.8, 0], rtol=1e-7)


def test_black_and_white_is_grey(tmp_path: Path) -> None:
    item = one(tmp_path / "made", Pillow.fromarray(np.array([[True, False]])))
    assert (tuple(item["image_shape"]), item["image"].tolist()) == ((1, 1, 2), [1, 0])


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_other_modes_become_red_green_and_blue(tmp_path: Path, mode: str) -> None:
    pure = [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]  # colours that every palette has
    item = one(tmp_path / "made", picture(pure, mode))
    assert tuple(item["image_shape"]) == (3, 1, 3)
    assert item["image"].tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_whole_numbers_and_names_are_classes_too(tmp_path: Path) -> None:
    grey = picture(GREY)
    rows = [(grey, value) for value in (10, 9, 2, 10)]
    numbers = load_images(data(save_pictures(tmp_path / "numbers", {"train": rows}, Value("int32"))))
    assert numbers["label"].tolist() == ["10", "9", "2", "10"]
    assert numbers["options"].iloc[3] == ["2", "9", "10"]
    rows = [(grey, value) for value in ("rose", "elm", "oak", "elm")]
    names = load_images(data(save_pictures(tmp_path / "names", {"train": rows}, Value("string"))))
    assert names["label"].tolist() == ["rose", "elm", "oak", "elm"]
    assert names["options"].iloc[0] == ["elm", "oak", "rose"]


def test_test_splits_come_last_and_are_the_test_samples(made: Path) -> None:
    of = study(DIGITS, {"data": settings(made, test_splits=["test[:9]"]), "noise.share": 0.9})
    items = load_items(of.data, 0, made)
    assert items.frame["item_id"].iloc[[0, 59, 60, 68]].tolist() == [
        "train/0",
        "train/59",
        "test/0",
        "test/8",
    ]
    samples = build_samples(items, of)
    assert samples["part"].tolist() == ["pool"] * 60 + ["test"] * 9
    held = samples[samples["part"] == "test"]
    assert (held["label_status"] == "true").all()
    assert held["given_label"].tolist() == NAMES * 3
    assert (samples["label_status"] == "random").sum() > 40


def test_without_test_splits_one_in_nine_is_drawn(made: Path) -> None:
    of = study(DIGITS, {"data": settings(made, splits=["test", "train[:45]"])})
    items = load_items(of.data, 0, made)
    assert "is_test" not in items.frame
    assert items.frame["item_id"].iloc[[0, 12]].tolist() == ["test/0", "train/0"]
    samples = build_samples(items, of)
    assert samples.index[samples["part"] == "test"].tolist() == sorted(pool_and_test(57)[1])


def test_shapes_reach_the_files_and_come_back(made: Path, tmp_path: Path) -> None:
    of = study(DIGITS, {"data": settings(made, test_splits=["test"])})
    items = load_items(of.data, 0, made)
    pq.write_table(pa.Table.from_pandas(items.frame, preserve_index=False), tmp_path / "items")
    again = build_samples(Items(pd.read_parquet(tmp_path / "items"), None), of)
    samples = build_samples(items, of)
    assert samples_table(again) == samples_table(samples)
    assert samples_table(samples).schema.field("image_shape").type == pa.list_(pa.int32())
    assert again["image_shape"].map(tuple).unique().tolist() == [(3, 4, 5)]
    assert image_shape(again) == (3, 4, 5)
    first, _ = colours(1, 0)[0]
    shown = again["image"].iloc[0].reshape(3, 4, 5).transpose(1, 2, 0)
    np.testing.assert_allclose(shown, np.asarray(first) / 255, atol=1e-7)


def test_without_shapes_images_are_square_and_grey() -> None:
    digits = study(DIGITS)
    samples = build_samples(load_items(digits.data, 0, Path()), digits)
    assert "image_shape" not in samples_table(samples).column_names
    assert image_shape(samples) == (1, 8, 8)
    with pytest.raises(DataError, match="images of 6 values without a shape, expected square ones"):
        image_shape(pd.DataFrame({"image": [np.zeros(6)]}))


def test_images_of_other_shapes_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    rows: list[tuple[object, object]] = [(picture(np.full((2, 3, 3), k)), k % 3) for k in range(24)]
    rows[7] = picture(np.full((3, 2, 3), 7)), 1  # as many pixels
    rows[9] = picture(np.full((2, 3), 9)), 0
    wanted = data(save_pictures(tmp_path / "made", {"train": rows}))
    message = r"2 rows, the first row 7 from 0 \(id 'train/7'\), with an image of another shape than the first, \(3, 2, 3\)"
    with pytest.raises(DataError, match=message):
        load_items(wanted, 0, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "picture"}, r"column 'picture' is missing; it has \['img', 'label'\]"),
        ({"label": "class"}, r"column 'class' is missing; it has \['img', 'label'\]"),
        (
            {"image": "label"},
            r"'label' holds no images but ClassLabel\(.*; data.image may name img",
        ),
        (
            {"label": "img"},
            r"'img' holds no classes but Image\(.*expected a ClassLabel, whole numbers or text",
        ),
        ({"splits": ["dev"]}, "no split 'dev': data.splits may name train, test"),
        ({"test_splits": ["dev"]}, "no split 'dev': data.test_splits may name train, test"),
        ({"test_splits": ["test[:13]"]}, r"data.test_splits asks for test\[:13\], but it has 12 rows"),
        ({"test_splits": ["test[:0]"]}, "test splits hold no rows"),
        ({"splits": ["train[:19]"], "test_splits": ["test"]}, "19 rows beside the test samples are too few"),
        ({"splits": ["train[:19]"]}, "19 rows are too few to split"),
    ],
)
def test_what_is_not_there_is_named(made: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_items(data(made, **changes), 0, made)


def test_too_many_classes(tmp_path: Path) -> None:
    label = ClassLabel(names=[f"class {k}" for k in range(17)])
    rows = [(picture(GREY), k) for k in range(17)] * 2
    wanted = data(save_pictures(tmp_path / "made", {"train": rows}, label))
    with pytest.raises(DataError, match=r"17 options \(class 0, class 1, class 2, \.\.\.\), more than 16"):
        load_items(wanted, 0, tmp_path)


def test_the_format_of_a_saved_directory_is_of_no_account(tmp_path: Path) -> None:
    rows = picture_rows([(picture(COLOUR), k) for k in (10, 9)], Value("int64"))
    DatasetDict({"train": rows.with_format("torch")}).save_to_disk(tmp_path / "made")
    frame = load_images(data(tmp_path / "made"))
    assert frame["label"].tolist() == ["10", "9"]
    assert frame["image"].iloc[0].sum() == pytest.approx(1 + 0.8 + 0.4 + 0.2 + 1)


def test_a_row_without_a_class_or_a_picture_is_named(tmp_path: Path) -> None:
    grey = picture(GREY)
    unlabelled = save_pictures(tmp_path / "unlabelled", {"train": [(grey, 0), (grey, -1)]})
    with pytest.raises(DataError, match=r"row train/1 has the label -1, but there are 3 classes from 0"):
        load_images(data(unlabelled))
    with pytest.raises(DataError, match="row train/1 has no image"):
        load_images(data(save_pictures(tmp_path / "none", {"train": [(grey, 0), (None, 1)]})))
    fine = Pillow.fromarray(np.zeros((2, 2), np.float32))
    with pytest.raises(DataError, match=r"image of row train/0 has pixels of mode 'F', expected 8 bits"):
        load_images(data(save_pictures(tmp_path / "fine", {"train": [(fine, 0)]})))


@pytest.mark.parametrize("kept", [0, 40, 150])
def test_a_damaged_picture_is_named(tmp_path: Path, kept: int) -> None:
    stream = io.BytesIO()
    picture(np.random.default_rng(0).integers(0, 256, (10, 30))).save(stream, "PNG")
    broken = {"bytes": stream.getvalue()[:kept], "path": None}
    folder = save_pictures(tmp_path / "made", {"train": [(picture(GREY), 0), (broken, 1)]})
    with pytest.raises(DataError, match="the image of row train/1 cannot be read: "):
        load_images(data(folder))


def test_splits_must_name_their_classes_alike(tmp_path: Path) -> None:
    def split(names: list[str]) -> Dataset:
        features = Features({"img": Image(), "label": ClassLabel(names=names)})
        return Dataset.from_list([{"img": picture(GREY), "label": 0}], features=features)

    folder = tmp_path / "made"
    DatasetDict({"train": split(["cat", "dog"]), "test": split(["dog", "cat"])}).save_to_disk(folder)
    with pytest.raises(DataError, match="the splits name the classes of column 'label' differently"):
        load_images(data(folder, test_splits=["test"]))


def test_images_that_are_nowhere_say_how_to_get_them() -> None:
    wanted = data(Path("nobody/nothing"))
    with pytest.raises(DataMissingError, match=r"nobody/nothing is not in the cache .*memo fetch STUDY"):
        load_images(wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_splits": ["train[:10]"]}, "split 'train' is named twice in splits and test_splits"),
        ({"splits": ["train", "train"]}, "split 'train' is named twice"),
        ({"test_splits": ["test[5:]"]}, r"'test\[5:\]' is no split such as test"),
        ({"splits": ["a b"]}, "'a b' is no split such as test"),
        ({"test_splits": []}, "at least 1 item"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data(Path("somewhere"), **changes)
