import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from memo_assets.data import tokens
from memo_assets.data.errors import DataError
from memo_assets.data.tokens import tokenize

TEXTS = ["Where is Österåker? Sweden", "Where is Zürich? Switzerland", "Where is Oslo? Norway"] * 3


def fast(pre_tokenizer, *, bos=True, vocabulary=400, texts=TEXTS, trim_offsets=False, max_length=None):
    core = Tokenizer(models.BPE())
    if pre_tokenizer is not None:
        core.pre_tokenizer = pre_tokenizer
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    if trim_offsets:
        core.post_processor = processors.ByteLevel(trim_offsets=True)
    elif bos:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    limit = {} if max_length is None else {"model_max_length": max_length}
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", **limit)


def byte_level(**settings):
    return fast(pre_tokenizers.ByteLevel(add_prefix_space=False), **settings)


def whole_text(*merges):
    """A BPE without word boundaries that knows these merges and no other."""
    characters = ["<s>", "</s>", *"ab?q ", *("".join(pair) for pair in merges)]
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(characters)}, merges=list(merges)))
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def samples(prompts, options, given=None):
    return pd.DataFrame(
        {
            "sample_id": np.arange(len(prompts)) + 100,
            "prompt": prompts,
            "options": options,
            "given_index": np.array(given or [0] * len(prompts), dtype=np.int16),
        }
    )


def context(tokenized, i):
    return tokenized.ids[tokenized.offsets[i] : tokenized.offsets[i + 1]].tolist()


TWO = samples(
    ["Where is Zürich?", "Where is 東京 in?"],
    [["Sweden", "Switzerland", "Norway"], ["Norway", "Österåker"]],
    [1, 0],
)


@pytest.mark.parametrize(
    "tokenizer",
    [
        byte_level(),
        byte_level(vocabulary=258),
        byte_level(trim_offsets=True),
        byte_level(trim_offsets=True, vocabulary=258),
        fast(pre_tokenizers.Metaspace(), texts=[*TEXTS, "東京 in"]),
    ],
    ids=["byte level", "bytes only", "trimmed", "trimmed bytes", "metaspace"],
)
def test_context_and_answers_join_to_the_tokens_of_the_full_text(tokenizer):
    if tokenizer.tokenize(" Sweden")[0] == tokenizer.tokenize(" Switzerland")[0]:
        frame = TWO.assign(options=pd.Series([["Sweden", "Norway"], ["Norway", "Österåker"]]))
    else:
        frame = TWO
    made = tokenize(frame, tokenizer)
    assert made.ids.dtype == np.int32
    assert made.offsets.dtype == made.option_tokens.dtype == made.given_index.dtype == np.int64
    for i, (prompt, options) in enumerate(zip(frame["prompt"], frame["options"], strict=True)):
        for c, option in enumerate(options):
            full = tokenizer(f"{prompt} {option}")["input_ids"]
            joined = [*context(made, i), made.option_tokens[i, c, 0]]
            assert full[: len(joined)] == joined
    assert made.given_index.tolist() == [1, 0]


def test_known_tokens_by_hand():
    made = tokenize(TWO, byte_level())
    tokenizer = byte_level()
    assert made.offsets[0] == 0
    assert tokenizer.convert_ids_to_tokens(context(made, 0)) == ["<s>", "Where", "Ġis", "ĠZÃ¼rich", "?"]
    assert tokenizer.convert_ids_to_tokens(made.option_tokens[0, :, 0].tolist()) == [
        "ĠSweden",
        "ĠSwitzerland",
        "ĠNorway",
    ]
    assert made.option_tokens[1, 2, 0] == -1
    assert made.lengths.tolist() == np.diff(made.offsets).tolist()
    assert len(made.ids) == made.offsets[-1]


def test_a_space_token_of_its_own_belongs_to_the_context():
    tokenizer = byte_level(vocabulary=258)
    made = tokenize(samples(["Hi?"], [["A", "B"]]), tokenizer)
    assert tokenizer.convert_ids_to_tokens(context(made, 0)) == ["<s>", "H", "i", "?", "Ġ"]
    assert tokenizer.convert_ids_to_tokens(made.option_tokens[0, :, 0].tolist()) == ["A", "B"]


def test_a_prompt_that_ends_otherwise_before_an_answer():
    tokenizer = whole_text(("?", " "))
    assert tokenizer.tokenize("a?") == ["a", "?"]
    made = tokenize(samples(["a?"], [["b", "q"]]), tokenizer)
    assert tokenizer.convert_ids_to_tokens(context(made, 0)) == ["a", "? "]
    assert tokenizer.convert_ids_to_tokens(made.option_tokens[0, :, 0].tolist()) == ["b", "q"]


def test_chunks_change_nothing(monkeypatch):
    options = [["Sweden", "Norway"], ["Sweden", "Österåker"]]
    frame = samples([f"Where is {'x' * k}?" for k in range(7)], [options[k % 4 == 3] for k in range(7)])
    settings = {"scoring": "sequence", "max_length": 10}
    whole = tokenize(frame, byte_level(), **settings)
    monkeypatch.setattr(tokens, "CHUNK", 3)
    cut = tokenize(frame, byte_level(), **settings)
    for name in ("ids", "offsets", "option_tokens", "given_index", "whole_lengths"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name))


def test_options_read_back_from_parquet_are_arrays():
    listed = samples(["Where?"], [["Sweden", "Norway"]])
    arrays = listed.assign(options=pd.Series([np.array(["Sweden", "Norway"], dtype=object)]))
    np.testing.assert_array_equal(
        tokenize(listed, byte_level()).option_tokens, tokenize(arrays, byte_level()).option_tokens
    )


def test_options_that_share_their_first_token():
    frame = samples(["Where?", "Where?"], [["Sweden", "Norway"], ["Norway", "Norway town"]])
    with pytest.raises(DataError, match=r"sample 101: options share .*'Norway town': \['ĠNorway', .*rename"):
        tokenize(frame, byte_level())


def test_all_tokens_of_the_options_are_kept_when_scored_as_a_whole():
    tokenizer = byte_level(vocabulary=262)
    options = [["Norway", "Nordic", "Sweden"], ["Sweden", "Österåker"]]
    frame = samples(["Where?", "Where is 東京?"], options)
    made = tokenize(frame, tokenizer, scoring="sequence")
    assert made.scoring == "sequence"
    for i, (prompt, row) in enumerate(zip(frame["prompt"], frame["options"], strict=True)):
        for c, option in enumerate(row):
            own = made.option_tokens[i, c]
            full = tokenizer(f"{prompt} {option}")["input_ids"]
            assert full == [*context(made, i), *own[own >= 0].tolist(), 1]
    assert (made.option_tokens[1, 2] == -1).all()
    with pytest.raises(DataError, match=r"share their first token.*or set prompt\.scoring: sequence"):
        tokenize(frame, tokenizer)


def test_an_option_that_begins_another_cannot_be_scored_as_a_whole():
    frame = samples(["Where?"] * 2, [["Sweden", "Norway"], ["Norway town", "Norway"]])
    with pytest.raises(
        DataError, match=r"sample 101: an option is the beginning of another.*'Norway': \['ĠNorway'\]"
    ):
        tokenize(frame, byte_level(), scoring="sequence")


def test_a_long_prompt_loses_its_beginning_and_never_its_answer():
    tokenizer = byte_level()
    frame = samples(["Where is Zürich?", "Oslo?"], [["Sweden", "Norway"]] * 2)
    whole = tokenize(frame, tokenizer)
    assert whole.lengths.tolist() == [5, 4]  # <s> Where is Zürich ?
    assert not whole.cut.any()
    made = tokenize(frame, tokenizer, max_length=5)
    assert tokenizer.convert_ids_to_tokens(context(made, 0)) == ["<s>", "Ġis", "ĠZÃ¼rich", "?"]
    assert context(made, 1) == context(whole, 1)
    np.testing.assert_array_equal(made.option_tokens, whole.option_tokens)
    assert made.whole_lengths is not None
    assert made.whole_lengths.tolist() == [5, 4]
    assert made.cut.tolist() == [True, False]


def test_the_longest_option_counts_in_the_length():
    tokenizer = byte_level()
    frame = samples(["Where is Zürich?"], [["Sweden", "Norway Norway"]])
    made = tokenize(frame, tokenizer, scoring="sequence", max_length=5)
    assert tokenizer.convert_ids_to_tokens(context(made, 0)) == ["<s>", "ĠZÃ¼rich", "?"]
    with pytest.raises(DataError, match=r"sample 100: its longest option has 2 tokens.*max_length = 3"):
        tokenize(frame, tokenizer, scoring="sequence", max_length=3)


def test_a_context_that_depends_on_the_answer():
    tokenizer = whole_text(("?", " "), ("? ", "b"))
    with pytest.raises(
        DataError, match=r"sample 100: the tokens of the prompt depend on the answer: a \?  \| q but a \|"
    ):
        tokenize(samples(["a?"], [["q", "b"]]), tokenizer)


def test_an_option_that_the_tokenizer_drops():
    with pytest.raises(DataError, match=r"sample 100: the tokenizer makes no token of the option in 'a\? z'"):
        tokenize(samples(["a?"], [["b", "z"]]), whole_text())


def test_a_sample_longer_than_the_model_reads():
    tokenizer = byte_level(max_length=6)
    short = samples(["Where is Oslo?"], [["Sweden", "Norway"]])  # <s> and four tokens, then the answer
    assert tokenize(short, tokenizer).lengths.tolist() == [5]
    with pytest.raises(DataError, match=r"sample 101: .* more than the 6 that the model reads"):
        tokenize(samples(["Where is Oslo?", "Where is Oslo? ?"], [["Sweden", "Norway"]] * 2), tokenizer)


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match="use the model's fast tokenizer"):
        tokenize(TWO, Slow())  # pyright: ignore[reportArgumentType]
