"""Are the files that a step is about to read those that the assets upstream wrote? If not, the step says which to remove.

What belongs here: comparing the content of files with the data versions that Dagster recorded. A file cut off by a full
disk, bytes turned by a failing one, or an edit by hand would else be read for what it is not: Parquet and safetensors
hold no checksums. What does not: files that no data version speaks of (ledger, results of workers, states of training),
which are made anew where they cannot be read.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from memo_assets.assets.spec import asset_key
from memo_assets.config import Study
from memo_assets.staleness import latest_materializations
from memo_assets.store.files import content_hash, file_digest, read_json
from memo_assets.store.layout import Layout, epoch_folder

_BY_SEED = ("split_masks", "adapters", "logits", "layer_scores")


class Written:
    """Compares files of a study with what was recorded of them; each file is read once.

    Args:
        study: the study.
        instance: with the record.
    """

    def __init__(self, study: Study, instance: dg.DagsterInstance) -> None:
        self._study, self._layout = study, Layout.of(study.name)
        self.hash_of: Callable[..., str] = partial(content_hash, digest_of=cache(file_digest))
        self._versions = cache(partial(_versions, study, instance))
        self.problem = cache(self._problem)

    def require(self, name: str, partitions: Iterable[int | None] = (None,)) -> None:
        """Refuse to go on if files of an asset are not as it wrote them.

        Args:
            name: an asset that leaves files.
            partitions: split seeds, for assets partitioned by them.

        Raises:
            dagster.Failure: the sentence of `problem` for the first that is not.
        """
        for partition in partitions:
            if sentence := self.problem(name, partition):
                raise dg.Failure(sentence)

    def _problem(self, name: str, partition: int | None = None) -> str:
        """What is wrong with the files of an asset, and the way out; empty if nothing is, or if it was never recorded.

        Args:
            name: an asset that leaves files.
            partition: split seed, for assets partitioned by them.
        """
        recorded = self._versions(name).get(None if partition is None else str(partition))
        if recorded is None:
            return ""
        try:
            paths, remove = self._files(name, partition)
            if self.hash_of(*paths) == recorded:
                return ""
            found = "was cut off, damaged or changed since"
        except FileNotFoundError as error:
            found, remove = f"lacks {error.filename}", self._places(name, partition)
        except (KeyError, TypeError, AttributeError, ValueError):
            found, remove = "cannot be read as JSON any more", self._places(name, partition)
        what = f"{self._study.name}/{name}" + ("" if partition is None else f" of seed {partition}")
        them = "it" if len(remove) == 1 else "all of them"
        return (
            f"{' or '.join(map(str, remove))} is not as {what} wrote it, it {found}: remove {them} and run "
            "`memo demo` of this study again, which makes it anew"
        )

    def _places(self, name: str, partition: int | None) -> list[Path]:
        """What is to be removed of an asset for it to be made anew, where nothing more is known."""
        if name == "adapters":
            assert partition is not None
            return [self._layout.adapters(partition)]
        return [self._layout.output(name, partition)]

    def _files(self, name: str, partition: int | None) -> tuple[list[Path], list[Path]]:
        """Files and folders whose content is the data version, and those to be removed."""
        layout, remove = self._layout, self._places(name, partition)
        if name == "raw_dataset":
            both = [layout.items, *([layout.background] if layout.background.is_file() else [])]
            return both, both
        if name == "base_model":
            base = layout.base_models / read_json(layout.base_model)["folder"]
            return [base], [base, layout.base_model]
        if name == "audit":
            both = [layout.audit_scores, layout.audit_run]
            return both, both
        assert partition is not None or name == "samples"
        if partition is None:
            return [layout.samples], remove
        if name == "adapters":
            epochs = [
                float(entry["epoch"]) for entry in read_json(layout.training_log(partition))["checkpoints"]
            ]
            wanted = self._study.training.checkpoints
            if not set(wanted) <= set(epochs):
                raise ValueError(epochs)
            trigger = layout.trigger_adapter(partition)
            weights = [layout.adapters(partition) / epoch_folder(epoch) for epoch in wanted]
            return [*weights, *([trigger] if trigger.is_dir() else [])], remove
        if name == "layer_scores":
            summary, norms = layout.layer_summary(partition), layout.weight_norms(partition)
            of_seed = [layout.layer_scores(partition), summary, norms]
            return of_seed, of_seed
        return [layout.output(name, partition)], remove


def _versions(study: Study, instance: dg.DagsterInstance, name: str) -> Mapping[str | None, str]:
    """Data versions recorded last of an asset, by partition."""
    if name in _BY_SEED:
        records = latest_materializations(instance, asset_key(study, name)).items()
        events = {key: record.asset_materialization for key, record in records}
    else:
        event = instance.get_latest_materialization_event(asset_key(study, name))
        events = {None: event.asset_materialization if event else None}
    return {key: (event.tags or {})[DATA_VERSION_TAG] for key, event in events.items() if event is not None}
