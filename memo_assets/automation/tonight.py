"""The condition that chooses the split seeds of a night."""

import json
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import dagster as dg

from memo_assets.automation.situation import GPU_STEPS, Situation, Subset, keys_of
from memo_assets.automation.watch import OfStudy, Watch


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


class Tonight(OfStudy):
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
        most = self.watch.nightly.max_seeds_per_night
        return f"Among the split seeds of this night{'' if most is None else f', at most {most}'}"

    @property
    def requires_cursor(self) -> bool:
        """The split seeds of the night are remembered."""
        return True

    @property
    def children(self) -> list[dg.AutomationCondition]:
        """When a night comes."""
        return [self._cron]

    async def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, context: dg.AutomationContext
    ) -> dg.AutomationResult:
        """Choose once a night; then hand out what is left."""
        situation = self.watch.at(context)
        full = context.asset_graph_view.get_full_subset(key=context.key)
        tick = await context.for_child_condition(self._cron, [0], full).evaluate_async()
        night = _Night.read(context.cursor)
        due = night.due or not tick.true_subset.is_empty
        left: AbstractSet[str | None] = night.left - self._asked_before(context)
        if due and await self._at_rest(context, situation):
            due = False
            most = self.watch.nightly.max_seeds_per_night
            left = await situation.seeds_for_a_night(most) if full.is_partitioned else {None}
        if left:
            left = left & keys_of(await self._open(context, situation))
        found = context.candidate_subset.compute_intersection(situation.subset(self.asset, left))
        cursor = _Night(due, frozenset(left)).written()
        return dg.AutomationResult(context, found, cursor=cursor, child_results=[tick])

    @staticmethod
    def _asked_before(context: dg.AutomationContext) -> AbstractSet[str | None]:
        subset = context.get_previous_requested_subset(context.key)
        return set() if subset is None else keys_of(subset)

    async def _at_rest(self, context: dg.AutomationContext, situation: Situation) -> bool:
        """Whether no asset above that needs no GPU is being redone or about to be: its result may make more stale."""
        for name in _above(situation, self.asset):
            if name not in GPU_STEPS and (
                self.requested(context, name) is not None or not (await situation.busy(name)).is_empty
            ):
                return False
        return True

    async def _open(self, context: dg.AutomationContext, situation: Situation) -> Subset:
        """What needs work, or may once the GPU-bound assets above are redone."""
        found = await situation.needs(self.asset)
        for name in situation.steps[self.asset].upstream:
            if name in GPU_STEPS:
                above = await self.unsettled(context, name)
                if not above.is_empty:
                    found = found.compute_union(situation.down(self.asset, above))
        return found


def _above(situation: Situation, name: str) -> set[str]:
    found = set(situation.steps[name].upstream)
    return found.union(*(_above(situation, upstream) for upstream in found))
