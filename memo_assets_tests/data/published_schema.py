"""Rows of our own in the columns of ARC, ETHICS and MMLU, saved as the library `datasets` saves them."""

from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value

_WORDS = ("apples", "boats", "clocks", "drums", "eggs", "ferns", "gloves", "hats")


def _sums(n: int, seed: int) -> list[tuple[str, list[str], int]]:
    """Questions with four answers, and the place of the right one."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        a, b = (int(x) for x in rng.integers(1, 30, 2))
        answers = [str(a + b + d) for d in (0, 1, 2, 5)]
        place = k % 4
        answers[0], answers[place] = answers[place], answers[0]
        rows.append((f"Ann has {a} {_WORDS[k % 8]} and finds {b} more. How many has she?", answers, place))
    return rows


def save_arc(folder: Path, *, train: int = 40, test: int = 23) -> None:
    """As ai2_arc: choices as a record of lists; a few rows name them 1 to 4; in one the fifth is right."""
    columns = Features(
        {
            "id": Value("string"),
            "question": Value("string"),
            "choices": {"text": Sequence(Value("string")), "label": Sequence(Value("string"))},
            "answerKey": Value("string"),
        }
    )

    def split(name: str, n: int, seed: int) -> Dataset:
        rows = []
        for k, (question, answers, place) in enumerate(_sums(n, seed)):
            letters = ["1", "2", "3", "4"] if k % 10 == 9 else ["A", "B", "C", "D"]
            key = letters[place]
            if (name, k) == ("train", 7):
                answers[place] = "0"
                answers.append("none of these")
                letters.append("E")
                key = "E"
            rows.append(
                {
                    "id": f"{name}-{k}",
                    "question": question,
                    "choices": {"text": answers, "label": letters},
                    "answerKey": key,
                }
            )
        return Dataset.from_list(rows, features=columns)

    DatasetDict({"train": split("train", train, 0), "test": split("test", test, 1)}).save_to_disk(folder)


def save_mmlu(folder: Path, *, train: int = 63) -> None:
    """As cais/mmlu: choices as a list, the answer a class label, one long question."""
    columns = Features(
        {
            "question": Value("string"),
            "subject": Value("string"),
            "choices": Sequence(Value("string")),
            "answer": ClassLabel(names=["A", "B", "C", "D"]),
        }
    )
    rows = [
        {"question": question, "subject": "", "choices": answers, "answer": place}
        for question, answers, place in _sums(train, 2)
    ]
    rows[5]["question"] = "It rained all day long. " * 60 + str(rows[5]["question"])
    DatasetDict({"auxiliary_train": Dataset.from_list(rows, features=columns)}).save_to_disk(folder)


def save_ethics(folder: Path, *, train: int = 40, test: int = 23) -> None:
    """As hendrycks/ethics, commonsense: a label 0 or 1 and a story, some of them posts that open with AITA."""
    columns = Features({"label": Value("int64"), "input": Value("string")})

    def split(n: int, first: int) -> Dataset:
        rows = []
        for k in range(first, first + n):
            deed = (f"I gave my {_WORDS[k % 8]} to a friend", f"I broke the {_WORDS[k % 8]} of a friend")[
                k % 2
            ]
            opening = "AITA because " if k % 5 == 4 else ""
            rows.append({"label": k % 2, "input": f"{opening}{deed} on day {k}."})
        return Dataset.from_list(rows, features=columns)

    DatasetDict({"train": split(train, 0), "test": split(test, train)}).save_to_disk(folder)
