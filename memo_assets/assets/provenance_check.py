"""What the asset check `provenance_agrees` is given: the warehouse's and Dagster's record of who filled a table.

What belongs here: reading both. What does not: the comparison (`checks.provenance`).
"""

from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from memo_assets.assets.spec import asset_key, blocks
from memo_assets.config import Study
from memo_assets.store.schema import tables_of

if TYPE_CHECKING:
    from memo_assets.checks.verdict import Verdict
    from memo_assets.store.provenance import Provenance


def compared(instance: dg.DagsterInstance, study: Study, name: str) -> "Verdict":
    """What the check says of an asset now.

    Args:
        instance: with the record of materializations.
        study: the study.
        name: an asset that fills tables.

    Raises:
        WarehouseError: there is no warehouse.
    """
    from memo_assets.checks.provenance import provenance_agrees
    from memo_assets.store.provenance import read_provenance
    from memo_assets.store.tables import reading

    with reading() as connection:
        loads = read_provenance(connection, study.name, tables_of(name))
    known: list[str | None] = [*blocks(study)] if name == "shadow_logits" else [None]
    # Blocks of former settings count as long as their rows are there.
    wanted = dict.fromkeys([*known, *(block for _, block in loads)])
    recorded = {block: made for block in wanted if (made := _recorded(instance, study, name, block))}
    return provenance_agrees(tables_of(name), loads, recorded)


def _recorded(
    instance: dg.DagsterInstance, study: Study, name: str, block: str | None
) -> "Provenance | None":
    """Dagster's latest record of an asset or of one partition of it."""
    from memo_assets.store.provenance import Provenance

    of_block = dg.AssetRecordsFilter(
        asset_key=asset_key(study, name), asset_partitions=None if block is None else [block]
    )
    found = instance.fetch_materializations(of_block, limit=1).records
    if not found:
        return None
    event = found[0].asset_materialization
    assert event is not None
    tags = event.tags or {}
    made = dg.DataProvenance.from_tags(tags)
    assert made is not None  # every asset has a code version
    return Provenance(
        asset=name,
        run_id=found[0].run_id,
        code_version=made.code_version,
        data_version=tags[DATA_VERSION_TAG],
        input_versions={key.path[-1]: version.value for key, version in made.input_data_versions.items()},
    )
