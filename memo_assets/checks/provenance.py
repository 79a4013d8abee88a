"""The check that the warehouse and Dagster say the same of where a table's rows come from.

What belongs here: comparing both. What does not: reading either (`store.provenance`, `assets.provenance_check`).
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from memo_assets.checks.verdict import Verdict
from memo_assets.store.provenance import Provenance

_SHOWN = 5


def provenance_agrees(
    tables: tuple[str, ...],
    loads: Mapping[tuple[str, str | None], Provenance],
    recorded: Mapping[str | None, Provenance],
) -> Verdict:
    """Whether every load of an asset's tables is the one that Dagster recorded last, with the same versions.

    A run that ended between the two, a warehouse put back from a copy, or a record that was wiped makes them differ.

    Args:
        tables: names of the asset's tables.
        loads: what the warehouse says, by table and block of split seeds (None: the table as a whole).
        recorded: Dagster's latest record of the asset, by block.
    """
    expected = {(table, block): made for block, made in recorded.items() for table in tables}
    differences = []
    for table, block in dict.fromkeys([*expected, *loads]):  # in order, each once
        load, record = loads.get((table, block)), expected.get((table, block))
        if words := _difference(load, record):
            where = table if block is None else f"{table} {block}"
            differences.append(f"{where}: {words}")
    facts: dict[str, Any] = {"loads": len(loads)}
    if not differences:
        agree = f"{len(loads)} load{'s agree' if len(loads) != 1 else ' agrees'} with Dagster's record"
        return Verdict(passed=True, sentence=f"{agree}: {', '.join(tables)}", facts=facts)
    more = f"; {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
    return Verdict(
        passed=False,
        sentence=f"warehouse and Dagster's record differ: {'; '.join(differences[:_SHOWN])}{more}. Materialize this asset "
        "again",
        facts={**facts, "differences": differences},
    )


def _difference(load: Provenance | None, record: Provenance | None) -> str:
    """In what two provenances differ, in words; "" if they are the same."""
    if load is None:
        assert record is not None
        return f"no provenance in the warehouse, recorded by run {record.run_id}"
    if record is None:
        return f"loaded by run {load.run_id}, of which Dagster has no record"
    there, expected = _entries(load), _entries(record)
    return ", ".join(
        f"{name} {there.get(name, 'missing')} (recorded: {expected.get(name, 'none')})"
        for name in dict.fromkeys([*there, *expected])
        if there.get(name) != expected.get(name)
    )


def _entries(made: Provenance) -> dict[str, str]:
    own = {field.name: getattr(made, field.name) for field in fields(Provenance)}
    inputs = own.pop("input_versions")
    return {**own, **{f"input {name}": version for name, version in inputs.items()}}
