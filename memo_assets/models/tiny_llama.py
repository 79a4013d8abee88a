"""A small Llama, pretrained on the spot: a base model for studies that run without network and GPU.

What belongs here: tokenizer, architecture and next-token pretraining of `TinyLlama`, and the key of its cache.
What does not: fine-tuning (`training`), adapters (`packed_lora`), models of the hub (`training`).
"""

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from memo_assets.config import TinyLlama
from memo_assets.store.files import folder_in_the_making, give_usual_rights
from memo_assets.training.interruption import Interrupted, ShouldStop, never

# Part of the cache key: raise it whenever a change below makes another model of the same data and settings.
RECIPE = 1
MAX_LENGTH = 256
WARMUP_SHARE = 0.05
WEIGHT_DECAY = 0.01
BUCKET_BATCHES = 32  # sentences are sorted by length within this many batches, then cut into batches
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
SPECIAL = (BOS, EOS, PAD)  # the first tokens of the vocabulary, in this order


@dataclass(frozen=True)
class Pretraining:
    """What a pretraining run did: number of sentences, optimizer steps, mean loss of each epoch, wall seconds."""

    sentences: int
    steps: int
    epoch_losses: tuple[float, ...]
    seconds: float


def base_model_hash(background: pd.DataFrame, config: TinyLlama) -> str:
    """Key of the pretrained model: SHA-256 over settings, sentences' data, this recipe and the libraries.

    The tokenizer is trained from the same data and settings, so the key covers it too.

    Args:
        background: columns text and label, in order.
        config: the settings.

    Returns:
        64 hexadecimal digits.
    """
    facts = {
        "recipe": RECIPE,
        "config": config.model_dump(mode="json"),
        "background": background[["text", "label"]].to_numpy().tolist(),
        "libraries": {name: version(name) for name in ("tokenizers", "torch", "transformers")},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def pretrain_tiny_llama(
    background: pd.DataFrame,
    config: TinyLlama,
    out_dir: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: ShouldStop = never,
) -> Pretraining:
    """Train tokenizer and model on sentences about the background names; save both in Hugging Face format.

    Every name goes through every sentence of `config.sentences` once per epoch. Next-token loss, AdamW, linear
    warm-up and cosine decay. The same inputs and number of threads give the same weights. The directory appears
    complete or not at all; if another process finished it first, its model (equal by `base_model_hash`) stays.

    Args:
        background: columns text and label; none of the study's own items.
        config: the settings.
        out_dir: directory to create; load it with AutoModelForCausalLM and AutoTokenizer.
        on_progress: called after every step with the steps done and their number.
        should_stop: asked after every step but the last; at the first yes the run ends and leaves nothing.

    Returns:
        Numbers of the run.

    Raises:
        Interrupted: `should_stop` said yes; pretraining starts anew the next time.
        ValueError: no background, or a sentence that lacks {text} or {label}.
        FileExistsError: `out_dir` is there already.
    """
    if out_dir.exists():
        raise FileExistsError(f"{out_dir} exists: load the base model from there, or delete it first")
    started = time.perf_counter()
    sentences = pretraining_sentences(background, config.sentences)
    tokenizer = _train_tokenizer(sentences, config.vocabulary)
    rows = tokenizer([sentence + EOS for sentence in sentences])["input_ids"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = LlamaForCausalLM(_architecture(config, tokenizer))
    steps, losses = _train(model, rows, config, on_progress, should_stop)
    _save(model, tokenizer, out_dir)
    return Pretraining(len(sentences), steps, losses, time.perf_counter() - started)


def pretraining_sentences(background: pd.DataFrame, templates: list[str]) -> list[str]:
    """Fill every template with every name and label, template by template.

    Raises:
        ValueError: no background, or a template that lacks {text} or {label}.
    """
    if background.empty:
        raise ValueError("no names are left for pretraining: lower data.items")
    for template in templates:
        if "{text}" not in template or "{label}" not in template:
            raise ValueError(
                f"model.sentences: {template!r} must hold both {{text}} and {{label}}, so that the model meets "
                f"every label"
            )
    # One pass over the template: a name that holds a brace is never filled in again.
    return [
        re.sub(r"\{(text|label)\}", lambda place, row=row: str(row[place[1]]), template)
        for template in templates
        for row in background[["text", "label"]].to_dict("records")
    ]


def _train_tokenizer(sentences: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE: no text is unknown to it, whatever its script."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        sentences,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=list(SPECIAL),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, SPECIAL.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=BOS, eos_token=EOS, pad_token=PAD, model_max_length=MAX_LENGTH
    )


def _architecture(config: TinyLlama, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden,
        intermediate_size=3 * config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=False,  # an adapter on lm_head must not move the embeddings
        bos_token_id=SPECIAL.index(BOS),
        eos_token_id=SPECIAL.index(EOS),
        pad_token_id=SPECIAL.index(PAD),
    )


def _train(
    model: LlamaForCausalLM,
    rows: list[list[int]],
    config: TinyLlama,
    on_progress: Callable[[int, int], None] | None,
    should_stop: ShouldStop,
) -> tuple[int, tuple[float, ...]]:
    pad = SPECIAL.index(PAD)
    rng = np.random.RandomState(config.seed)
    total = config.epochs * math.ceil(len(rows) / config.batch_size)
    warmup = max(1, round(WARMUP_SHARE * total))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, (step + 1) / warmup)
            * 0.5
            * (1 + math.cos(math.pi * max(0, step - warmup) / max(1, total - warmup)))
        ),
    )
    model.train()
    step, epoch_losses = 0, []
    for _ in range(config.epochs):
        losses = []
        for batch in _batches([len(row) for row in rows], config.batch_size, rng):
            width = max(len(rows[i]) for i in batch)
            ids = torch.tensor([rows[i] + [pad] * (width - len(rows[i])) for i in batch])
            # Padding stands at the end, where causal attention never looks back from a real token: no mask needed.
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
            loss = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=pad)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            losses.append(loss.item())
            if on_progress is not None:
                on_progress(step, total)
            if step < total and should_stop():
                raise Interrupted(step, total, "steps", kept=False)
        epoch_losses.append(float(np.mean(losses)))
    model.eval()
    return step, tuple(epoch_losses)


def _batches(lengths: list[int], batch_size: int, rng: np.random.RandomState) -> Iterator[np.ndarray]:
    """Random batches of sentences of like length: shuffled, sorted within buckets, cut, shuffled again."""
    order = rng.permutation(len(lengths))
    sizes = np.asarray(lengths)
    bucket = BUCKET_BATCHES * batch_size
    batches = []
    for start in range(0, len(order), bucket):
        part = order[start : start + bucket]
        part = part[np.argsort(sizes[part], kind="stable")]
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    yield from (batches[i] for i in rng.permutation(len(batches)))


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out_dir: Path) -> None:
    with folder_in_the_making(out_dir) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        give_usual_rights(unfinished)
        try:
            unfinished.rename(out_dir)
        except OSError:
            if not out_dir.exists():
                raise
