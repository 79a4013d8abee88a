"""What every condition of a nightly study looks at: the study at one moment, and what this tick asks for above an asset.

What belongs here: the base of our own conditions. What does not: what each of them asks (`conditions`, `tonight`).
"""

import dagster as dg

from memo_assets.automation.situation import Situation, Subset
from memo_assets.config import Study


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


class OfStudy(dg.AutomationCondition[dg.AssetKey]):
    """A condition that looks at the whole study."""

    def __init__(self, watch: Watch, asset: str) -> None:
        self.watch = watch
        self.asset = asset

    @property
    def requires_cursor(self) -> bool:
        """Nothing is remembered."""
        return False

    async def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, context: dg.AutomationContext
    ) -> dg.AutomationResult:
        """Ask only if there are candidates."""
        candidates = context.candidate_subset
        found = candidates if candidates.is_empty else await self.among(context, candidates)
        return dg.AutomationResult(context, found)

    async def among(self, context: dg.AutomationContext, candidates: Subset) -> Subset:
        """What of the candidates, of which there are some, the condition holds for."""
        raise NotImplementedError

    def requested(self, context: dg.AutomationContext, name: str) -> Subset | None:
        """What of an asset above is asked for on this tick, if anything."""
        subset = context.request_subsets_by_key.get(self.watch.at(context).key(name))
        return None if subset is None or subset.is_empty else subset

    async def unsettled(self, context: dg.AutomationContext, name: str) -> Subset:
        """What of an asset above needs work, is in progress, or is asked for on this tick."""
        situation = self.watch.at(context)
        found = (await situation.needs(name)).compute_union(await situation.busy(name))
        requested = self.requested(context, name)
        return found if requested is None else found.compute_union(requested)
