"""The graph as text: assets, dependencies, partitions, conditions, checks, jobs, schedules and sensors of all studies.

`make snapshot` (python -m memo_assets_tests.graph_snapshot) writes graph_snapshot.txt, which shows in a review what a
change does to the graph. It is made from the definitions alone, so that whatever is added to them appears by itself.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from memo_assets.compute.items import seeds_in_words

FILE = Path(__file__).with_name("graph_snapshot.txt")
COMMAND = "make snapshot"
_HEAD = f"""\
# The graph of all built-in studies as Dagster loads it. Written by `{COMMAND}`; a test compares it with what is loaded.
# Code versions are left out: they change with every setting of a study, and test_graph.py says with which.
# Groups with equal assets share a section. "= name": partitions as of that asset. Dependencies on partitions say how.
"""


def built_in_definitions() -> dg.Definitions:
    """What the web UI loads, without the user's own studies and settings of this machine."""
    from memo_assets import definitions

    before = {name: os.environ.pop(name, None) for name in ("MEMO_STUDIES", "MEMO_EXECUTOR")}
    try:
        with tempfile.TemporaryDirectory() as empty:
            os.environ["MEMO_STUDIES"] = empty
            return definitions.defs()
    finally:
        os.environ.pop("MEMO_STUDIES", None)
        os.environ.update({name: value for name, value in before.items() if value is not None})


def snapshot(definitions: dg.Definitions) -> str:
    """The graph of some definitions, one section for all groups with equal assets.

    Args:
        definitions: all of them, with resources.
    """
    return _HEAD + "\n" + "\n".join(_Writer(definitions).lines()) + "\n"


class _Writer:
    def __init__(self, definitions: dg.Definitions) -> None:
        self._repository = definitions.get_repository_def()
        self._graph = self._repository.asset_graph
        self._conditions: dict[str, str] = {}
        self._groups: dict[str, list[Any]] = {}
        for key in self._graph.toposorted_asset_keys:
            node = self._graph.get(key)
            self._groups.setdefault(node.group_name, []).append(node)

    def lines(self) -> list[str]:
        """Sections of groups, then what is about all of them."""
        sections: dict[tuple[str, ...], list[str]] = {}
        for group, nodes in sorted(self._groups.items()):
            sections.setdefault(tuple(self._assets(group, nodes)), []).append(group)
        lines: list[str] = []
        for assets, groups in sections.items():
            lines += [f"== {', '.join(groups)}", *assets, *self._partitions(groups), ""]
        for title, found in {
            "conditions": [f"{name}: {text}" for text, name in self._conditions.items()],
            "jobs": self._merged(self._jobs()),
            "schedules": self._merged(self._schedules()),
            "sensors": self._merged(self._sensors()),
            "resources": sorted(self._repository.get_top_level_resources()),
        }.items():
            lines += [f"== {title}", *(f"  {line}" for line in found or ["none"]), ""]
        return lines[:-1]

    def _assets(self, group: str, nodes: Sequence[Any]) -> list[str]:
        lines, first_with = [], self._first_with(nodes)
        for node in nodes:
            facts = ["observed"] if node.is_observable else ["external"] if node.is_external else []
            facts += sorted(node.kinds) + [f"pool {pool}" for pool in sorted(node.pools or ())]
            if node.partitions_def is not None:
                first = first_with[node.partitions_def]
                facts.append("partitions" if first == node.key else f"partitions = {_name(group, first)}")
            if node.backfill_policy is not None:
                most = node.backfill_policy.max_partitions_per_run
                facts.append(f"backfill in {'one run' if most is None else f'runs of {most}'}")
            facts += [f"owner {owner}" for owner in node.owners]
            facts += [
                f"tag {name}={value}"
                for name, value in sorted(node.tags.items())
                if not name.startswith("dagster/kind/")
            ]
            if node.automation_condition is not None:
                facts.append(f"condition {self._condition(node.automation_condition)}")
            lines.append(f"  {_name(group, node.key)} ({'; '.join(facts)})")
            if node.parent_keys:
                lines.append(f"    <- {', '.join(self._parents(group, node))}")
            checks = sorted(node.check_keys, key=lambda key: key.name)
            lines += [f"    check {self._check(group, key)}" for key in checks]
        return lines

    def _parents(self, group: str, node: Any) -> list[str]:
        own, others = [], {}
        for key in sorted(node.parent_keys):
            how = ""
            if self._graph.get(key).partitions_def is not None:
                mapping = self._graph.get_partition_mapping(node.key, key)
                how = f" ({type(mapping).__name__.removesuffix('PartitionMapping').lower()})"
            if self._graph.get(key).group_name == group:
                own.append(f"{_name(group, key)}{how}")
            else:
                others.setdefault(f"{key.path[-1]}{how}", []).append("/".join(key.path[:-1]))
        return own + [f"{name} of {', '.join(of)}" for name, of in others.items()]

    def _check(self, group: str, key: dg.AssetCheckKey) -> str:
        spec = self._graph.get_check_spec(key)
        facts = ["blocking"] if spec.blocking else []
        facts += [f"also needs {_name(group, dep.asset_key)}" for dep in spec.additional_deps]
        if spec.automation_condition is not None:
            facts.append(f"condition {self._condition(spec.automation_condition)}")
        return key.name + (f" ({'; '.join(facts)})" if facts else "")

    def _condition(self, condition: Any) -> str:
        return self._conditions.setdefault(_condition_text(condition), f"C{len(self._conditions) + 1}")

    def _first_with(self, nodes: Sequence[Any]) -> dict[Any, dg.AssetKey]:
        found: dict[Any, dg.AssetKey] = {}
        for node in nodes:
            if node.partitions_def is not None:
                found.setdefault(node.partitions_def, node.key)
        return found

    def _partitions(self, groups: Sequence[str]) -> list[str]:
        """Partition keys by asset; groups with the same are named together."""
        found: dict[tuple[str, ...], list[str]] = {}
        for group in groups:
            lines = [
                f"{_name(group, key)}: {_keys(partitions)}{self._sizes(group, key)}"
                for partitions, key in self._first_with(self._groups[group]).items()
            ]
            found.setdefault(tuple(lines), []).append(group)
        return [
            f"  partitions{'' if len(found) == 1 else ' of ' + ', '.join(of)}: {'; '.join(lines)}"
            for lines, of in found.items()
            if lines
        ]

    def _sizes(self, group: str, key: dg.AssetKey) -> str:
        """How many upstream partitions each partition has, where a mapping says so."""
        for parent in sorted(self._graph.get(key).parent_keys):
            if self._graph.get(parent).partitions_def is None:
                continue
            mapping = self._graph.get_partition_mapping(key, parent)
            if isinstance(mapping, dg.StaticPartitionMapping):
                counts = Counter(
                    str(of) for of in mapping.downstream_partition_keys_by_upstream_partition_key.values()
                )
                return f" with {', '.join(map(str, counts.values()))} of {_name(group, parent)}"
        return ""

    def _jobs(self) -> Iterable[tuple[str, str]]:
        implicit = self._repository.get_implicit_asset_job_names()
        for job in sorted(self._repository.get_all_jobs(), key=lambda job: job.name):
            if job.name not in implicit:
                tags = "".join(f"; tag {name}={value}" for name, value in sorted(job.tags.items()))
                keys = job.asset_layer.selected_asset_keys
                what = self._selection(keys) if keys else f"ops {', '.join(node.name for node in job.nodes)}"
                yield job.name, what + tags

    def _schedules(self) -> Iterable[tuple[str, str]]:
        for schedule in sorted(self._repository.schedule_defs, key=lambda schedule: schedule.name):
            zone = schedule.execution_timezone or "UTC"
            text = f"{schedule.cron_schedule} ({zone}), {schedule.default_status.value.lower()}: {schedule.job_name}"
            yield schedule.name, text

    def _sensors(self) -> Iterable[tuple[str, str]]:
        for sensor in sorted(self._repository.sensor_defs, key=lambda sensor: sensor.name):
            facts = [sensor.sensor_type.value.lower(), sensor.default_status.value.lower()]
            if sensor.minimum_interval_seconds is not None:
                facts.append(f"every {sensor.minimum_interval_seconds} s")
            if sensor.asset_selection is not None:
                facts.append(self._selection(sensor.asset_selection.resolve(self._graph)))
            elif sensor.targets:
                facts.append("; ".join(target.job_name for target in sensor.targets))
            if isinstance(sensor, dg.AutomationConditionSensorDefinition):
                facts.append("backfills" if sensor.emit_backfills else "runs")
            yield sensor.name, ", ".join(facts)

    def _selection(self, keys: Iterable[dg.AssetKey]) -> str:
        """Assets by group; all that a group can make are not listed."""
        wanted, said = set(keys), []
        for group, nodes in sorted(self._groups.items()):
            chosen = {node.key for node in nodes} & wanted
            if chosen == {node.key for node in nodes}:
                said.append(f"all of {group}")
            elif chosen == {node.key for node in nodes if node.is_materializable}:
                said.append(f"all that {group} makes")
            elif chosen:
                said.append(f"{group}: {', '.join(sorted(_name(group, key) for key in chosen))}")
        return "; ".join(said) or "nothing"

    def _merged(self, found: Iterable[tuple[str, str]]) -> list[str]:
        """One line for the same of several groups, whose name stands in the item's name."""
        alike: dict[tuple[str, str], list[str]] = {}
        for name, text in found:
            of = [group for group in sorted(self._groups, key=len, reverse=True) if group in name]
            kind = (name.replace(of[0], "STUDY"), text.replace(of[0], "STUDY")) if of else (name, text)
            alike.setdefault(kind, []).extend(of[:1])
        return [
            f"{name} [{', '.join(of)}]: {text}" if of else f"{name}: {text}"
            for (name, text), of in alike.items()
        ]


def _name(group: str, key: dg.AssetKey) -> str:
    return "/".join(key.path[1:] if key.path[0] == group else key.path)


def _keys(partitions: dg.PartitionsDefinition) -> str:
    if not isinstance(partitions, dg.StaticPartitionsDefinition):
        return str(partitions)
    keys = list(partitions.get_partition_keys())
    if all(key.isdecimal() for key in keys):
        return seeds_in_words([int(key) for key in keys])
    return ", ".join(keys)


def _condition_text(condition: Any) -> str:
    parts = [_condition_text(child) for child in condition.children]
    if condition.operator_type in ("and", "or"):
        return f"({f' {condition.operator_type} '.join(parts)})"
    if condition.operator_type == "not":
        return f"not {parts[0]}"
    parts += [
        f"{name} {value}"
        for name in ("allow_selection", "ignore_selection")
        if (value := getattr(condition, name, None)) is not None
    ]
    return condition.name.lower() + (f"({', '.join(parts)})" if parts else "")


def main() -> None:
    """Write the file."""
    FILE.write_text(snapshot(built_in_definitions()), encoding="utf-8")
    print(f"written: {FILE}")


if __name__ == "__main__":
    main()
