"""When an asset of a nightly study is redone: Dagster's automation conditions, and four of our own.

Dagster's own conditions see changes of code and data only while the sensor runs. These ask for the state itself, as the
web UI and `memo status` show it, so nothing is missed that happened while no daemon was there.
"""

import dagster as dg

from memo_assets.automation.situation import GPU_STEPS, Subset
from memo_assets.automation.tonight import Tonight
from memo_assets.automation.watch import OfStudy, Watch

AC = dg.AutomationCondition


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
        trusted = Tonight(watch, name, cron) & NeedsWork(watch, name) & ChecksPassed(watch, name)
        return (trusted & ready).with_label("nightly, GPU-bound")
    changed = AC.code_version_changed() | AC.any_deps_updated() | cron
    not_in_vain = ~AC.execution_failed() | changed.since(AC.newly_requested() | AC.newly_updated())
    labelled = not_in_vain.with_label("did not fail, or something has changed since, or a night has come")
    return (NeedsWork(watch, name) & labelled & ready).with_label("as soon as its inputs are there")


class NeedsWork(OfStudy):
    """Missing, stale or failed; also, in one run with it, what lies right below an asset that is asked for now."""

    @property
    def name(self) -> str:
        """As the web UI shows it."""
        return "needs_work"

    @property
    def description(self) -> str:
        """As the web UI shows it."""
        return "Missing, stale, failed in its latest run, or its file is gone"

    async def among(self, context: dg.AutomationContext, candidates: Subset) -> Subset:
        """All of them below what is asked for, else those that need work."""
        situation = self.watch.at(context)
        if not candidates.is_partitioned and self.asset not in GPU_STEPS:
            for upstream in situation.steps[self.asset].upstream:
                requested = None if upstream in GPU_STEPS else self.requested(context, upstream)
                if requested is not None and not requested.is_partitioned:
                    return candidates
        return candidates.compute_intersection(await situation.needs(self.asset))


class ChecksPassed(OfStudy):
    """Built on nothing that a blocking check found broken, unless that is made again first.

    Dagster's `all_deps_blocking_checks_passed` asks for one answer over all partitions, and takes a check that never ran
    for one that failed; here a fault of single split seeds holds back these seeds only, as in the step itself.
    """

    @property
    def name(self) -> str:
        """As the web UI shows it."""
        return "checks_passed"

    @property
    def description(self) -> str:
        """As the web UI shows it."""
        return "No blocking check of what it is built on has found these split seeds broken"

    async def among(self, context: dg.AutomationContext, candidates: Subset) -> Subset:
        """Those that are built on nothing broken."""
        situation = self.watch.at(context)
        redone = {name for name in situation.steps if self.requested(context, name) is not None}
        return candidates.compute_difference(situation.distrusted(self.asset, but=redone))


class InputsReady(OfStudy):
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

    async def among(self, context: dg.AutomationContext, candidates: Subset) -> Subset:
        """Count on what is asked for now where Dagster keeps the order; then without."""
        asked = self._asked(context)
        ready = await self._ready(context, candidates, asked)
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
            ready = await self._ready(context, candidates, in_order)
        return ready

    def _asked(self, context: dg.AutomationContext) -> dict[str, Subset]:
        """What is asked for now of what it reads; GPU-bound assets and the others keep to themselves."""
        is_gpu = self.asset in GPU_STEPS
        found = {
            name: self.requested(context, name)
            for name in self.watch.at(context).steps[self.asset].upstream
            if (name in GPU_STEPS) == is_gpu
        }
        return {name: subset for name, subset in found.items() if subset is not None}

    async def _ready(
        self, context: dg.AutomationContext, candidates: Subset, asked: dict[str, Subset]
    ) -> Subset:
        situation, ready = self.watch.at(context), candidates
        for name in situation.steps[self.asset].upstream:
            lacking = await self.unsettled(context, name)
            if name in asked:
                lacking = lacking.compute_difference(asked[name])
            if not lacking.is_empty:
                ready = ready.compute_difference(situation.down(self.asset, lacking))
        for name in situation.below(self.asset):
            reading = await situation.busy(name)
            if not reading.is_empty:
                ready = ready.compute_difference(situation.up(self.asset, reading))
        return ready
