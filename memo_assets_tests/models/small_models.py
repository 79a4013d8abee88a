"""Small random language models of any architecture, saved as a user of the platform would have one."""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

SPECIAL = ["<s>", "</s>", "<pad>"]


def random_model(model_type: str, **settings: object) -> PreTrainedModel:
    """Two blocks of width 32 with grouped-query attention, the same weights at every call.

    Args:
        model_type: the architecture as the transformers library calls it.
        settings: of its configuration; they take the place of those here.
    """
    torch.manual_seed(0)
    small = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.1,
        "pad_token_id": None,
    }
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **small | settings)).eval()


def save_small_model(
    folder: Path, model_type: str, texts: Iterable[str], *, vocabulary: int = 400, max_length: int = 512
) -> None:
    """Two blocks of width 32 with grouped-query attention, in bf16, and a byte-level tokenizer trained on the texts.

    Args:
        folder: where both are saved, with safetensors.
        model_type: the architecture as the transformers library calls it.
        texts: what the tokenizer is trained on.
        vocabulary: number of tokens.
        max_length: most tokens that the model reads.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=SPECIAL,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=max_length,
    )
    model = random_model(
        model_type,
        vocab_size=len(tokenizer),
        head_dim=8,
        max_position_embeddings=max_length,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    model.to(torch.bfloat16).save_pretrained(folder)  # pyright: ignore[reportArgumentType]
    tokenizer.save_pretrained(folder)
