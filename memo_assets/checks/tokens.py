"""The check that the base model's tokenizer can tell the options of every sample apart.

What belongs here: running `data.tokens` over all samples before a model is loaded. What does not: the rules of tokens
themselves.

The tokenizer that models are trained with comes from transformers, which imports torch wherever it is installed. So
the check runs in a process of its own, in which torch cannot be imported: that takes a second or two, and leaves the
caller as light as it was.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memo_assets.checks.verdict import Verdict, not_judged
from memo_assets.config import Study


def labels_tokenizable(samples: Path, tokenizer: str | Path, revision: str | None, study: Study) -> Verdict:
    """Whether each sample's prompt and options become tokens as training needs them.

    Args:
        samples: Parquet file of the samples.
        tokenizer: directory or hub id of the base model; the hub itself is not asked.
        revision: commit of the hub repository.
        study: prompt.scoring, training.max_length, and whether text may be shown.

    Raises:
        RuntimeError: the process ended without an answer; the message holds the end of what it said.
    """
    run = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(_request(samples, tokenizer, revision, study)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    if run.returncode:
        raise RuntimeError(f"tokenizing the samples failed:\n{run.stderr[-2000:]}")
    answer = json.loads(run.stdout.splitlines()[-1])
    return Verdict(passed=answer["passed"], sentence=answer["sentence"], facts=answer["facts"])


def _request(samples: Path, tokenizer: str | Path, revision: str | None, study: Study) -> dict[str, Any]:
    """What the process is asked."""
    assert study.prompt is not None
    return {
        "samples": str(samples),
        "tokenizer": str(tokenizer),
        "revision": revision,
        "scoring": study.prompt.scoring,
        "max_length": study.training.max_length,
        "show_text": study.show_text,
    }


def _judge(request: dict[str, Any]) -> Verdict:
    import pyarrow.parquet as pq
    from transformers import AutoTokenizer

    from memo_assets.data.errors import DataError
    from memo_assets.data.tokens import tokenize

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            request["tokenizer"],
            revision=request["revision"],
            local_files_only=True,
            trust_remote_code=False,
        )
    except OSError:
        return not_judged(
            f"the tokenizer of {request['tokenizer']} is not on this machine; memo fetch brings it"
        )
    columns = ["sample_id", "prompt", "options", "given_index"]
    samples = pq.read_table(request["samples"], columns=columns).to_pandas()
    try:
        tokens = tokenize(samples, tokenizer, scoring=request["scoring"], max_length=request["max_length"])
    except (DataError, ValueError) as error:
        sentence = str(error) if request["show_text"] else _without_text(str(error))
        return Verdict(passed=False, sentence=sentence, facts={"samples": len(samples)})
    answers = (tokens.option_tokens >= 0).sum(axis=2)
    facts = {
        "samples": len(samples),
        "mean_prompt_tokens": float(tokens.lengths.mean()),
        "most_prompt_tokens": int(tokens.lengths.max()),
        "most_option_tokens": int(answers.max()),
        "cut_prompts": int(tokens.cut.sum()),
    }
    by = "the first token" if request["scoring"] == "token" else "all tokens"
    return Verdict(
        passed=True,
        sentence=f"the options of all {len(samples)} samples differ by {by}; prompts have up to "
        f"{facts['most_prompt_tokens']} tokens",
        facts=facts,
    )


def _without_text(message: str) -> str:
    """What is wrong with which sample, without the pieces of its text that follow a second colon or stand in quotes."""
    sample, problem, *_ = [*message.split(": "), ""]
    problem = re.split(r" in ['\"]", problem)[0]
    return f"{sample}: {problem}; memo study check says more, and so would this check with show_text: true"


def main() -> None:
    """Answer the request on standard input, as JSON in the last line of standard output."""
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType] - what is None there cannot be imported
    verdict = _judge(json.load(sys.stdin))
    sys.stdout.write(f"{json.dumps(asdict(verdict))}\n")


if __name__ == "__main__":
    main()
