"""Planted samples: controls of which it is known beforehand what a good audit says of them.

What belongs here: making them of the user's own texts, and what each kind is for. What does not: their rates (`controls`).
"""

import string
from typing import NamedTuple

import numpy as np
import pandas as pd


class Kind(NamedTuple):
    """What a kind of planted sample is, and whether the audit should flag it; None: either way tells something."""

    meaning: str
    should_flag: bool | None


KINDS: dict[str, Kind] = {
    "wrong_label": Kind(
        "the first half of one text and the second half of another of the same label, with a wrong label: can only be learned by "
        "heart",
        should_flag=True,
    ),
    "rare_string": Kind(
        "a text of random letters with a drawn label: can only be learned by heart", should_flag=True
    ),
    "right_label": Kind(
        "two halves as above, with their own label: negative control, to be flagged no more often than the user's samples",
        should_flag=False,
    ),
    "duplicate": Kind(
        "an exact copy of a sample with its label: shows how repetition moves the scores", should_flag=None
    ),
}
_WORDS, _LETTERS = 8, 6


def plant(texts: list[str], labels: list[str], per_kind: int, *, seed: int) -> pd.DataFrame:
    """Draw planted samples.

    Args:
        texts: N texts of the user's.
        labels: N labels, of at least two kinds.
        per_kind: samples of each kind; 0 plants none.
        seed: of all draws.

    Returns:
        Columns text, label, canary (a kind of `KINDS`); none of a user's own.
    """
    rng = np.random.default_rng([seed, 0xCA9A])
    given, options = np.asarray(labels, dtype=object), sorted(set(labels))
    members = {label: np.flatnonzero(given == label) for label in options}
    rows: list[tuple[str, str, str]] = []
    for _ in range(per_kind):
        for kind in ("wrong_label", "right_label"):
            one = int(rng.integers(len(texts)))
            other = int(rng.choice(members[labels[one]]))
            others = [label for label in options if label != labels[one]]
            label = labels[one] if kind == "right_label" else others[int(rng.integers(len(others)))]
            rows.append((_spliced(texts[one], texts[other]), label, kind))
        rows.append((_random_text(rng), options[int(rng.integers(len(options)))], "rare_string"))
        copied = int(rng.integers(len(texts)))
        rows.append((texts[copied], labels[copied], "duplicate"))
    return pd.DataFrame(rows, columns=["text", "label", "canary"], dtype=object)


def _spliced(one: str, other: str) -> str:
    """The first half of one text's words and the second half of another's; halves of characters where there are no words."""
    first, second = one.split(), other.split()
    if len(first) > 1 and len(second) > 1:
        return " ".join([*first[: -(-len(first) // 2)], *second[len(second) // 2 :]])
    return (one[: -(-len(one) // 2)] + other[len(other) // 2 :]).strip() or one


def _random_text(rng: np.random.Generator) -> str:
    letters = np.array(list(string.ascii_lowercase))
    return " ".join("".join(rng.choice(letters, _LETTERS)) for _ in range(_WORDS))
