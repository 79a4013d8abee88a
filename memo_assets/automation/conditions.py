"""When an asset of a nightly study is redone: Dagster's automation conditions, and three of our own.

Dagster's own conditions see changes of code and data only while the sensor runs. These ask for the state itself, as the
web UI and `memo status` show it, so nothing is missed that happened while no daemon was there.
"""

import json
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import dagster as dg

from memo_assets.automation.situation import GPU_STEPS, Situation, Subset, keys_of
from memo_assets.config import Study

AC = dg.AutomationCondition


class Watch:
    """One study, looked at once a tick for all its conditions.

    Args:
        study: a study with `nightly`.
    """

    def __init__(self, study: Study) -> None:
        assert study.nightly is not None
        self.study = study
        self.nightly = study.nightly
        self._latest: Situation | None = None

    def at(self, context: dg.AutomationContext) -> Situation:
        """The study as of the tick that is being evaluated."""
        latest = self._latest
        if latest is None or latest.view is not context.asset_graph_view:
            latest = self._latest = Situation(self.study, context.asset_graph_view, latest)
        return latest


def condition(watch: Watch, name: str) -> dg.AutomationCondition:
    """The condition of one asset.

    GPU-bound assets: tonight's split seeds that need work. All others: as soon as they need work and what they read is
    there. Either way nothing that is in progress, and nothing that reads or is read by what is.

    Args:
        watch: of the study.
        name: a step of `graph.steps`.
    """
    cron = AC.cron_tick_passed(watch.nightly.cron, watch.nightly.timezone)
    ready = ~AC.in_progress() & InputsReady(watch, name)
    if name in GPU_STEPS:
        return (Tonight(watch, name, cron) & NeedsWork(watch, name) & ready).with_label("nightly, GPU-bound")
    changed = AC.code_version_changed() | AC.any_deps_updated() | cron
    not_in_vain = ~AC.execution_failed() | changed.since(AC.newly_requested() | AC.newly_updated())
    labelled = not_in_vain.with_label("did not fail, or something has changed since, or a night has come")
    return (NeedsWork(watch, name) & labelled & ready).with_label("as soon as its inputs are there")


class _OfStudy(dg.AutomationCondition[dg.AssetKey]):
    """A condition that looks at the whole study."""

    def __init__(self, watch: Watch, asset: str) -> None:
        self._watch = watch
        self._asset = asset

    def _requested(self, context: dg.AutomationContext, name: str) -> Subset | None:
        """What of an asset above is asked for on this tick, if anything."""
        subset = context.request_subsets_by_key.get(self._watch.at(context).key(name))
        return None if subset is None or subset.is_empty else subset

    async def _unsettled(self, context: dg.AutomationContext, name: str) -> Subset:
        """What of an asset above needs work, is in progress, or is asked for on this tick."""
        situation = self._watch.at(context)
        found = (await situation.needs(name)).compute_union(await situation.busy(name))
        requested = self._requested(context, name)
        return found if requested is None else found.compute_union(requested)


class NeedsWork(_OfStudy):
    """Missing, stale or failed; also, in one run with it, what lies right below an asset that is asked for now."""

    @property
    def name(self) -> str:
        """As the web UI shows it."""
        return "needs_work"

    @property
    def description(self) -> str:
        """As the web UI shows it."""
        return "Missing, stale, failed in its latest run, or its file is gone"

    @property
    def requires_cursor(self) -> bool:
        """Nothing is remembered."""
        return False

    async def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, context: dg.AutomationContext
    ) -> dg.AutomationResult:
        """Ask only if there are candidates."""
        candidates = context.candidate_subset
        if candidates.is_empty:
            return dg.AutomationResult(context, candidates)
        situation = self._watch.at(context)
        if not candidates.is_partitioned and self._asset not in GPU_STEPS:
            for upstream in situation.steps[self._asset].upstream:
                requested = None if upstream in GPU_STEPS else self._requested(context, upstream)
                if requested is not None and not requested.is_partitioned:
                    return dg.AutomationResult(context, candidates)
        needed = await situation.needs(self._asset)
        return dg.AutomationResult(context, candidates.compute_intersection(needed))


class InputsReady(_OfStudy):
    """All it reads is fresh and at rest, or is made first in the same run or backfill; nobody is reading what it writes.

    Must stand last: whether it and what it reads become one backfill depends on how many partitions are left.
    """

    @property
    def name(self) -> str:
        """As the web UI shows it."""
        return "inputs_ready"

    @property
    def description(self) -> str:
        """As the web UI shows it."""
        return "All inputs are fresh and at rest, and nothing in progress reads what is to be redone"

    @property
    def requires_cursor(self) -> bool:
        """Nothing is remembered."""
        return False

    async def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, context: dg.AutomationContext
    ) -> dg.AutomationResult:
        """Count on what is asked for now where Dagster keeps the order; then without."""
        if context.candidate_subset.is_empty:
            return dg.AutomationResult(context, context.candidate_subset)
        asked = self._asked(context)
        ready = await self._ready(context, asked)
        if ready.size <= 1:
            # Dagster makes a backfill, which keeps the order, only of several partitions of one asset. Single ones are
            # runs of their own, but for those of equal partitions, which share a run.
            graph = context.asset_graph_view.asset_graph
            own = graph.get(context.key).partitions_def
            in_order = {
                name: subset
                for name, subset in asked.items()
                if subset.size > 1 or graph.get(subset.key).partitions_def == own
            }
            ready = await self._ready(context, in_order)
        return dg.AutomationResult(context, ready)

    def _asked(self, context: dg.AutomationContext) -> dict[str, Subset]:
        """What is asked for now of what it reads; GPU-bound assets and the others keep to themselves."""
        is_gpu = self._asset in GPU_STEPS
        found = {
            name: self._requested(context, name)
            for name in self._watch.at(context).steps[self._asset].upstream
            if (name in GPU_STEPS) == is_gpu
        }
        return {name: subset for name, subset in found.items() if subset is not None}

    async def _ready(self, context: dg.AutomationContext, asked: dict[str, Subset]) -> Subset:
        situation, ready = self._watch.at(context), context.candidate_subset
        for name in situation.steps[self._asset].upstream:
            lacking = await self._unsettled(context, name)
            if name in asked:
                lacking = lacking.compute_difference(asked[name])
            if not lacking.is_empty:
                ready = ready.compute_difference(situation.down(self._asset, lacking))
        for name in situation.below(self._asset):
            reading = await situation.busy(name)
            if not reading.is_empty:
                ready = ready.compute_difference(situation.up(self._asset, reading))
        return ready


@dataclass(frozen=True)
class _Night:
    """What `Tonight` remembers from tick to tick.

    due: a night has come, and its split seeds are not chosen yet.
    left: those of them that this asset has not been asked for; None stands for an asset without partitions.
    """

    due: bool = False
    left: frozenset[str | None] = frozenset()

    @classmethod
    def read(cls, text: str | None) -> "_Night":
        if text is None:
            return cls()
        stored = json.loads(text)
        return cls(stored["due"], frozenset(stored["left"]))

    def written(self) -> str:
        return json.dumps({"due": self.due, "left": sorted(self.left, key=str)})


class Tonight(_OfStudy):
    """The split seeds of this night, each asked for once: chosen when the cron tick has passed and the inputs are at rest.

    The same seeds for all GPU-bound assets of the study, so `max_seeds_per_night` bounds them together. What does not
    fit into the one backfill of the night (scores of a single seed, say, whose adapters come first) follows right after.
    """

    def __init__(self, watch: Watch, asset: str, cron: dg.AutomationCondition) -> None:
        super().__init__(watch, asset)
        self._cron = cron

    @property
    def name(self) -> str:
        """As the web UI shows it."""
        return "tonight"

    @property
    def description(self) -> str:
        """As the web UI shows it."""
        most = self._watch.nightly.max_seeds_per_night
        return f"Among the split seeds of this night{'' if most is None else f', at most {most}'}"

    @property
    def children(self) -> list[dg.AutomationCondition]:
        """When a night comes."""
        return [self._cron]

    async def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, context: dg.AutomationContext
    ) -> dg.AutomationResult:
        """Choose once a night; then hand out what is left."""
        situation = self._watch.at(context)
        full = context.asset_graph_view.get_full_subset(key=context.key)
        tick = await context.for_child_condition(self._cron, [0], full).evaluate_async()
        night = _Night.read(context.cursor)
        due = night.due or not tick.true_subset.is_empty
        left: AbstractSet[str | None] = night.left - self._asked_before(context)
        if due and await self._at_rest(context, situation):
            due = False
            most = self._watch.nightly.max_seeds_per_night
            left = await situation.seeds_for_a_night(most) if full.is_partitioned else {None}
        if left:
            left = left & keys_of(await self._open(context, situation))
        found = context.candidate_subset.compute_intersection(situation.subset(self._asset, left))
        cursor = _Night(due, frozenset(left)).written()
        return dg.AutomationResult(context, found, cursor=cursor, child_results=[tick])

    @staticmethod
    def _asked_before(context: dg.AutomationContext) -> AbstractSet[str | None]:
        subset = context.get_previous_requested_subset(context.key)
        return set() if subset is None else keys_of(subset)

    async def _at_rest(self, context: dg.AutomationContext, situation: Situation) -> bool:
        """Whether no asset above that needs no GPU is being redone or about to be: its result may make more stale."""
        for name in _above(situation, self._asset):
            if name not in GPU_STEPS and (
                self._requested(context, name) is not None or not (await situation.busy(name)).is_empty
            ):
                return False
        return True

    async def _open(self, context: dg.AutomationContext, situation: Situation) -> Subset:
        """What needs work, or may once the GPU-bound assets above are redone."""
        found = await situation.needs(self._asset)
        for name in situation.steps[self._asset].upstream:
            if name in GPU_STEPS:
                above = await self._unsettled(context, name)
                if not above.is_empty:
                    found = found.compute_union(situation.down(self._asset, above))
        return found


def _above(situation: Situation, name: str) -> set[str]:
    found = set(situation.steps[name].upstream)
    return found.union(*(_above(situation, upstream) for upstream in found))
