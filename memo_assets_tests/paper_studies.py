"""The five studies of the paper at toy size: their own files, with fewer models and epochs and a small base model."""

from collections.abc import Callable
from pathlib import Path

from memo_assets.config import Study
from memo_assets.study import load_study
from memo_assets_tests.data.published_schema import save_arc, save_ethics, save_mmlu

SAVE: dict[str, Callable[[Path], None]] = {
    "arc_mistral": save_arc,
    "ethics_mistral": save_ethics,
    "mmlu_mistral": save_mmlu,
    "mmlu_llama": save_mmlu,
    "mmlu_gemma": save_mmlu,
}


def toy(name: str, folder: Path) -> Study:
    """A study of the paper over rows of our own and a base model below a folder, which is to be made of it.

    Args:
        name: one of SAVE.
        folder: gets the data; the model is expected in `model` there.
    """
    SAVE[name](folder / "data")
    settings = load_study(name).model_dump()
    rows = {"arc_mistral": 40, "ethics_mistral": 40}.get(name, 63)
    settings["data"]["name"] = str(folder / "data")
    settings["data"]["splits"] = [
        piece.split("[")[0] + (f"[:{rows}]" if "[" in piece else "") for piece in settings["data"]["splits"]
    ]
    settings["model"]["name"] = str(folder / "model")
    settings["training"] |= {"max_length": 200, "epochs": 2, "checkpoints": [0, 1, 2], "learning_rate": 1e-3}
    settings["shadows"] |= {"models": 4, "block": 4}
    settings["scores"] |= {"psmi_directions": 20, "smi_directions": 2}
    settings["compute"] |= {"device": "cpu", "pack": 2, "workers": 1, "threads": 1}
    return Study.model_validate(settings)
