"""From items to samples: pool or test, label noise, prompt.

What belongs here: all that turns an item into what a model is given. What does not: sources (`items`), the draws
themselves (`splits`, `noise`), tokens (`tokens`).
"""

import hashlib
import json
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from memo_assets.config import Canaries, Prompt, Study
from memo_assets.data.canaries import canary_labels, photo_tiles, place_canaries
from memo_assets.data.images import image_shape
from memo_assets.data.items import Items
from memo_assets.data.noise import noisy_labels, template_index
from memo_assets.data.splits import pool_and_test


def build_samples(items: Items, study: Study) -> pd.DataFrame:
    """Make the samples of a study, one row per item in the same order.

    Label noise is drawn in order over the rows of the pool alone, so test labels are always the true ones and a
    label drawn at random can be the true one.

    Args:
        items: checked items.
        study: reads data_seed, noise, canaries and prompt.

    Returns:
        Columns sample_id (int64, the position), item_id, part ('pool' or 'test'), label_status ('true' or 'random'),
        true_label, given_label, true_index, given_index (int16, positions in options), options (list), item_group (str) where the source has groups, then text
        and prompt (language) or image and, where the source has shapes, image_shape (vision), canary ('clean', 'ood' or
        null) where the study has canaries, and content_hash: SHA-256 of what the model is given, the options and the
        given label.

    Source: Dentan et al., arXiv 2409.18858: template and noise per sample.
    """
    frame = items.frame
    n = len(frame)
    options = [list(row) for row in frame["options"]]
    true_index = np.array(
        [row.index(label) for row, label in zip(options, frame["label"], strict=True)], dtype=np.int64
    )
    if "is_test" in frame:
        is_test = frame["is_test"].to_numpy(dtype=bool)
        pool, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    else:
        pool, test = pool_and_test(n)
    given_index, is_random = true_index.copy(), np.zeros(n, dtype=bool)
    n_options = np.array([len(row) for row in options])
    given_index[pool], is_random[pool] = noisy_labels(
        true_index[pool], n_options[pool], study.noise.share, study.data_seed
    )
    part = np.full(n, "pool", dtype=object)
    part[test] = "test"
    samples = pd.DataFrame(
        {
            "sample_id": np.arange(n, dtype=np.int64),
            "item_id": frame["item_id"].to_numpy(),
            "part": part,
            "label_status": np.where(is_random, "random", "true"),
            "true_label": frame["label"].to_numpy(),
            "given_label": [row[i] for row, i in zip(options, given_index, strict=True)],
            "true_index": true_index.astype(np.int16),
            "given_index": given_index.astype(np.int16),
            "options": options,
        }
    )
    if "item_group" in frame:
        samples["item_group"] = frame["item_group"].to_numpy()
    if "image_shape" in frame:
        samples["image_shape"] = frame["image_shape"].to_numpy()
    if study.prompt is not None:
        samples["text"] = frame["text"].to_numpy()
        lines = options
        if "choices" in frame:
            lines = [option_lines(*row) for row in zip(options, frame["choices"], strict=True)]
        samples["prompt"] = render_prompts(samples["text"].tolist(), lines, study.prompt, study.data_seed)
        seen = [prompt.encode() for prompt in samples["prompt"]]
    else:
        images = [np.asarray(image, dtype=np.float32) for image in frame["image"]]
        samples["image"] = pd.Series(images, dtype=object)
        if study.canaries is not None:
            samples = _with_canaries(samples, study.canaries, study.data_seed)
        # One after the other, for they are large.
        seen = (image.astype("<f4").tobytes() for image in samples["image"])
    samples["content_hash"] = [
        _content_hash(content, row, label)
        for content, row, label in zip(seen, options, samples["given_label"], strict=True)
    ]
    return samples


def _with_canaries(samples: pd.DataFrame, canaries: Canaries, data_seed: int) -> pd.DataFrame:
    """The samples, with some of the pool made canaries; a new label counts as true, for there is no other."""
    eligible = (samples["part"] == "pool") & (samples["label_status"] == "true")
    places = place_canaries(eligible.to_numpy(), canaries.count, data_seed)
    canary = np.full(len(samples), None, dtype=object)
    canary[places] = canaries.kind
    samples = samples.assign(canary=canary)
    if canaries.kind == "clean":
        return samples
    names, tiles = photo_tiles(canaries, image_shape(samples), data_seed)
    options = samples["options"].iloc[places]
    indices = canary_labels(options.map(len).to_numpy(), data_seed)
    labels = [row[index] for row, index in zip(options, indices, strict=True)]
    images = samples["image"].tolist()
    for place, tile in zip(places, tiles, strict=True):
        images[place] = tile
    changed = {"item_id": names, **dict.fromkeys(("true_label", "given_label"), labels)}
    changed |= dict.fromkeys(("true_index", "given_index"), indices.astype(np.int16))
    for name, values in changed.items():
        samples.loc[places, name] = values
    return samples.assign(image=pd.Series(images, index=samples.index, dtype=object))


def option_lines(options: Sequence[str], choices: Sequence[str]) -> list[str]:
    """One line per option that is a mere letter: the letter and what it stands for.

    Args:
        options: of one sample.
        choices: as many texts.
    """
    return [f"{option}: {choice}" for option, choice in zip(options, choices, strict=True)]


def render_prompts(texts: list[str], options: list[list[str]], prompt: Prompt, data_seed: int) -> list[str]:
    """Put every text and its options into the template drawn for it.

    Args:
        texts: N texts.
        options: N lists; `{options}` becomes one line '- option' each.
        prompt: the templates; those of the first opening that a text has, or else those of all texts.
        data_seed: seed of the draw of templates.

    Returns:
        N prompts. The answer is to follow after one space.
    """
    templates = [_templates(text, prompt) for text in texts]
    drawn = template_index(len(texts), [len(own) for own in templates], data_seed)
    prompts = []
    for own, index, text, row in zip(templates, drawn, texts, options, strict=True):
        values = {"text": text, "options": "\n".join(f"- {option}" for option in row)}
        # One pass over the template: braces that stand in the text itself are left alone.
        prompts.append(re.sub(r"\{(text|options)\}", lambda place, v=values: v[place[1]], own[index]))
    return prompts


def _templates(text: str, prompt: Prompt) -> list[str]:
    for opening in prompt.openings:
        if text.lower().startswith(tuple(word.lower() for word in opening.words)):
            return opening.templates
    return prompt.templates


def samples_schema(
    *, is_language: bool, has_groups: bool = False, has_shapes: bool = False, has_canaries: bool = False
) -> pa.Schema:
    """Column types of the samples' Parquet file."""
    text = pa.string()
    seen = [("text", text), ("prompt", text)] if is_language else [("image", pa.list_(pa.float32()))]
    if has_shapes:
        seen.append(("image_shape", pa.list_(pa.int32())))
    return pa.schema(
        [
            ("sample_id", pa.int64()),
            *[(name, text) for name in ("item_id", "part", "label_status", "true_label", "given_label")],
            ("true_index", pa.int16()),
            ("given_index", pa.int16()),
            ("options", pa.list_(text)),
            *([("item_group", text)] if has_groups else []),
            *([("canary", text)] if has_canaries else []),
            *seen,
            ("content_hash", text),
        ]
    )


def samples_table(samples: pd.DataFrame) -> pa.Table:
    """The samples as an Arrow table that is the same, metadata included, whenever the samples are.

    Args:
        samples: of `build_samples`.
    """
    schema = samples_schema(
        is_language="prompt" in samples,
        has_groups="item_group" in samples,
        has_shapes="image_shape" in samples,
        has_canaries="canary" in samples,
    )
    table = pa.Table.from_pandas(samples, schema=schema, preserve_index=False)
    return table.replace_schema_metadata(None)  # pandas notes its own version there


def content_digests(samples: pd.DataFrame) -> str:
    """SHA-256 over the content hashes of samples, in their order: one name for a whole data set.

    Args:
        samples: of `build_samples`.
    """
    return hashlib.sha256("\n".join(samples["content_hash"]).encode()).hexdigest()


def _content_hash(content: bytes, options: list[str], given_label: str) -> str:
    answer = json.dumps([options, given_label], ensure_ascii=False).encode()
    # The length keeps content and answer apart: no two samples can meet in one byte string.
    return hashlib.sha256(len(content).to_bytes(8, "little") + content + answer).hexdigest()
