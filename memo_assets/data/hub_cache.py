"""A data set of the Hugging Face hub in the cache of this machine: which files of it are wanted, and where they lie.

What belongs here: what is known of a data set without reading its rows. What does not: the rows (`hub`).
"""

from pathlib import Path

from memo_assets.config import HubRows
from memo_assets.data.errors import DataError, DataMissingError


def row_files(data: HubRows) -> list[str]:
    """Patterns of the files that hold a data set's rows, and of its card, which says what is which; never code."""
    names = ["*.parquet", "*.csv", "*.json", "*.jsonl", "*.arrow"]
    return ["README.md", *(f"{data.folder}/{name}" if data.folder else name for name in names)]


def snapshot(data: HubRows) -> Path:
    """Folder of a data set of the hub in the cache, which alone is asked; its name is the commit.

    Args:
        data: a data set that is no directory.

    Raises:
        DataMissingError: the cache does not hold it at that revision, or only in part.
        DataError: the name is none that the hub could have.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            data.name,
            repo_type="dataset",
            revision=data.revision,
            allow_patterns=row_files(data),
            local_files_only=True,
        )
    except LocalEntryNotFoundError as error:
        at = f" at revision {data.revision}" if data.revision else ""
        raise DataMissingError(
            f"data set {data.name}{at} is not in the cache (below HF_HOME: {constants.HF_HUB_CACHE}): run `memo fetch STUDY` "
            "where there is internet"
        ) from error
    except HFValidationError as error:
        raise DataError(
            f"data.name: given {data.name!r}; expected an existing directory, or a hub id such as owner/name"
        ) from error
    return Path(folder)
