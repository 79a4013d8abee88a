"""Multiple-choice questions whose right option no longer says what it said: only who works it out can still find it.

What belongs here: which questions can be varied, and their prompts before and after. What does not: what models answer
(`compute`), and what that tells of memorization (`analysis`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from memo_assets.config import Prompt
from memo_assets.data.samples import option_lines, render_prompts

REPLACEMENT = "None of the other answers"
VARIED, RIGHT_SPEAKS_OF_OTHERS, OTHER_SPEAKS_OF_OTHERS = "varied", "right option", "other option"
_OF_OTHERS = re.compile(
    r"(none|all|any|both|neither|either)(\s+of)?(\s+the)?\s+(others?|above|below|these|those|them|following|answers?"
    r"|options?|choices?)(\s+(answers?|options?|choices?|statements?))?(\s+(is|are|apply|applies))?(\s+(correct|right|true))?"
    r"|(both\s+)?\(?[a-e]\)?(\s*[,&]\s*|\s+(and|or)\s+)\(?[a-e]\)?(\s+only)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class VariedQuestions:
    """N questions, some of which are varied.

    Attributes:
        prompts: N prompts; those of questions that are left out are as they were.
        outcome: object [N], VARIED, or why the question is left out: its right option already speaks of the others (none of
            the above), or another option does (all of the above), so that with the replacement no single option is right.
    """

    prompts: list[str]
    outcome: np.ndarray

    @property
    def is_varied(self) -> np.ndarray:
        """Bool [N]."""
        return self.outcome == VARIED


def speaks_of_others(choice: str) -> bool:
    """Whether a choice is about the other choices: `None of the above.`, `All of these`, `Both A and B`."""
    return _OF_OTHERS.fullmatch(choice.strip().strip(".!\"'").strip()) is not None


def vary_choices(choices: Sequence[str], right: int) -> tuple[list[str], str]:
    """The choices with the text of the right one replaced, in the same order, or as they are if that cannot be done.

    Args:
        choices: texts of one question's options.
        right: position of the true one.

    Returns:
        The choices, and VARIED or why they are left as they are.

    Source: Salido, Gonzalo and Marco, "None of the Others: a General Technique to Distinguish Reasoning from Memorization
    in Multiple-Choice LLM Evaluation Benchmarks", 2025, arXiv 2502.12896.
    """
    given = list(choices)
    if speaks_of_others(given[right]):
        return given, RIGHT_SPEAKS_OF_OTHERS
    if any(speaks_of_others(choice) for choice in given):
        return given, OTHER_SPEAKS_OF_OTHERS
    return [REPLACEMENT if place == right else choice for place, choice in enumerate(given)], VARIED


def vary_questions(
    samples: pd.DataFrame, choices: Sequence[Sequence[str]], prompt: Prompt, data_seed: int
) -> VariedQuestions:
    """Prompts of all samples with the right option's text replaced; template, letters and order stay.

    Args:
        samples: all samples of a study: text, options, true_index. The option of the true label is replaced, whatever label
            is given: of a wrong one it would be false that no other answer is right.
        choices: N lists, what each option stands for.
        prompt: the study's templates.
        data_seed: seed of the draw of templates.

    Raises:
        ValueError: choices are not those of these samples.
    """
    options = [list(row) for row in samples["options"]]
    if [len(row) for row in choices] != [len(row) for row in options]:
        raise ValueError(
            f"choices of {len(choices)} questions given, which do not fit the options of {len(options)} samples: "
            "materialize samples anew from raw_dataset"
        )
    varied = [
        vary_choices(row, int(right)) for row, right in zip(choices, samples["true_index"], strict=True)
    ]
    lines = [option_lines(letters, row) for letters, (row, _) in zip(options, varied, strict=True)]
    prompts = render_prompts(samples["text"].tolist(), lines, prompt, data_seed)
    return VariedQuestions(prompts, np.array([outcome for _, outcome in varied], dtype=object))
