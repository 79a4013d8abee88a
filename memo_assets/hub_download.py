"""Downloading one repository of the Hugging Face hub into its cache, and what can go wrong, one sentence each.

What belongs here: the hub. What does not: what a study needs of it (`fetch`).
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


class FetchError(RuntimeError):
    """What a study needs cannot be fetched or is not there; the message says why and what to do."""


@dataclass(frozen=True)
class Repository:
    """A repository of the hub at a revision.

    Attributes:
        kind: model or data set.
        name: its id, such as owner/name.
        revision: commit, tag or branch; None for the main branch.
    """

    kind: Literal["model", "data set"]
    name: str
    revision: str | None

    @property
    def block(self) -> str:
        """The block of a study that names it."""
        return "model" if self.kind == "model" else "data"


def download(repository: Repository, *, wanted: list[str], unwanted: list[str] | None = None) -> Path:
    """Download files of a repository into the cache below HF_HOME, unless they are there.

    Args:
        repository: what to download.
        wanted: patterns of file names.
        unwanted: patterns that win over those wanted.

    Returns:
        The folder of that commit in the cache; its name is the commit.

    Raises:
        FetchError: it cannot be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HTTPError,  # pyright: ignore[reportPrivateImportUsage] - the HTTP library differs between releases
    )

    try:
        folder = snapshot_download(
            repository.name,
            repo_type="model" if repository.kind == "model" else "dataset",
            revision=repository.revision,
            allow_patterns=wanted,
            ignore_patterns=unwanted,
        )
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise FetchError(_reason(repository, error)) from error
    return Path(folder)


def _reason(repository: Repository, error: BaseException) -> str:
    """One sentence for what the hub's library raised; it never quotes headers, which hold the token."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # it only says that the cache does not help either
    kind, block = repository.kind, repository.block
    name, cache, first_line = repository.name, constants.HF_HUB_CACHE, next(iter(str(error).splitlines()), "")
    if isinstance(error, errors.HFValidationError):
        return f"{block}.name: given {name!r}; expected an existing directory, or a hub id such as owner/name"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{kind} {name} has no revision {repository.revision or 'main'!r} on the hub: correct {block}.revision"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            gated = isinstance(error, errors.GatedRepoError)
            cause = "it is gated" if gated else "it is private, gated or does not exist"
            return (
                f"the hub refuses access to {kind} {name} (HTTP {status}): {cause}; HF_TOKEN must be set in the "
                f"environment to the token of an account that was granted access at {constants.ENDPOINT}/{name}"
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return f"the hub ({constants.ENDPOINT}) has no {kind} {name!r}: correct {block}.name"
        return f"the hub ({constants.ENDPOINT}) answers HTTP {status} for {kind} {name}: try again later"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return (
            f"{kind} {name} is not in the cache ({cache}) and HF_HUB_OFFLINE is set: unset it and run `memo fetch` where "
            "there is internet"
        )
    if isinstance(error, (errors.HTTPError, ConnectionError, TimeoutError)):  # pyright: ignore[reportPrivateImportUsage]
        return (
            f"the hub ({constants.ENDPOINT}) cannot be reached ({type(error).__name__}) and {kind} {name} is not in the "
            f"cache ({cache}): run `memo fetch` where there is internet"
        )
    # Downloads by Xet raise a RuntimeError that holds the system's words.
    if any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT)):
        return (
            f"no space is left for {kind} {name} in the cache ({cache}): free some, or set HF_HOME to a folder on a "
            "larger disk, and run the same command again"
        )
    return f"{kind} {name} cannot be fetched into the cache ({cache}): {type(error).__name__}: {first_line}"
