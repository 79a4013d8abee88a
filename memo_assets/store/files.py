"""Writing files so that a crash leaves the old one or the new one, never half of either.

What belongs here: temporary name + rename for single files and folders, and content hashes.
"""

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import pyarrow as pa


class DamagedFileError(ValueError):
    """A file that cannot be read as what it should be; the message names it and the way out."""


def temporary_path(path: Path) -> Path:
    """A new name in the same folder for what is to take the place of `path`."""
    return path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder; on success it takes the place of `path`, on error it is removed.

    Args:
        path: final name of the file; its folder is made if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a binary file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; nan and infinity are refused."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; nan and infinity are refused, as `write_json` does.

    Raises:
        DamagedFileError: the file is not JSON; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(
            f"{path} is not valid JSON ({error}); remove it and materialize its asset again"
        ) from error


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def write_parquet(path: Path, table: "pa.Table", *, row_group_size: int | None = None) -> None:
    """Write a table atomically; the same table always gives the same bytes.

    Args:
        path: the file.
        table: its content.
        row_group_size: rows that are decoded together; smaller groups of large rows are read in less memory.
    """
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=row_group_size)


def replace_folder(new: Path, final: Path) -> None:
    """Put a finished folder in the place of an older one; the older one is removed last, or put back on an error."""
    final.parent.mkdir(parents=True, exist_ok=True)
    trash = final.parent / f".{final.name}.{uuid.uuid4().hex[:8]}.old"
    if final.exists():
        final.rename(trash)
    try:
        new.rename(final)
    except OSError:
        if trash.exists():
            trash.rename(final)
        raise
    for old in final.parent.glob(f".{final.name}.*.old"):  # of killed attempts too
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def folder_in_the_making(final: Path) -> Iterator[Path]:
    """A new folder beside `final`, to be filled and renamed to it; what is left of it at the end is removed.

    Its rights follow the umask, unlike those of `tempfile.mkdtemp`: workers of a cluster may run as others of a group.

    Args:
        final: name of the finished folder; the folder that holds it is made if it is missing.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    folder = temporary_path(final)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def give_usual_rights(path: Path) -> None:
    """Give a file, or all files below a folder, the rights of any new file there; safetensors makes private ones.

    Args:
        path: the file or folder, which nobody else uses yet.
    """
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    usual = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.rights"
    usual.touch(exist_ok=False)
    try:
        for file in files:
            file.chmod(usual.stat().st_mode & 0o777)
    finally:
        usual.unlink()


def file_digest(path: Path) -> bytes:
    """SHA-256 of the bytes of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def content_hash(*paths: Path, digest_of: Callable[[Path], bytes] = file_digest) -> str:
    """Hash of the names and bytes of files, or of all files below folders; 32 hexadecimal digits.

    Args:
        paths: files and folders. Names count relative to each given folder.
        digest_of: SHA-256 of a file; one that remembers spares reading a file twice.
    """
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(str(file.relative_to(path) if path.is_dir() else file.name).encode())
            digest.update(digest_of(file))
    return digest.hexdigest()[:32]
