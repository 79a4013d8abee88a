"""The source of a study's items: an asset that is only observed, so that a changed file, commit or package is seen.

What belongs here: observing it, and what was observed before. What does not: how the version of a source is found out
(`data.origin`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from memo_assets.assets.spec import SOURCE, asset_key
from memo_assets.config import HubRows, Study, TableData
from memo_assets.data.errors import DataError
from memo_assets.data.origin import Origin, origin

SENSOR_SECONDS = 300
_PLACE, _FINGERPRINT = "place", "fingerprint"


def build(study: Study) -> list[dg.AssetsDefinition]:
    """The asset `source`.

    Args:
        study: the study.
    """
    spec = dg.AssetSpec(
        asset_key(study, SOURCE),
        description="Where the items come from. Observed, never made: its data version is the commit of a data set of "
        "the hub, the hash of a file or directory, or the version of the package that brings the data. A new one "
        "marks `raw_dataset` and `samples` as stale.",
        group_name=study.name,
        kinds={_kind(study)},
        metadata={"study": study.title},
    )

    @dg.multi_observable_source_asset(name=f"{study.name}__{SOURCE}", specs=[spec])
    def source(context: dg.AssetExecutionContext) -> dg.ObserveResult:
        try:
            found = origin(study.data, Path.cwd(), last_observed(study, context.instance))
        except DataError as error:
            raise dg.Failure(f"study {study.name}: {error}") from error
        return dg.ObserveResult(
            asset_key=spec.key, data_version=dg.DataVersion(found.version), metadata=_metadata(found)
        )

    return [source]


def sensor(studies: Sequence[Study]) -> dg.SensorDefinition:
    """The sensor that observes the sources of all studies; it starts no run.

    Args:
        studies: the studies.
    """

    @dg.sensor(
        name="sources",
        description="Observes the sources of all studies and records those that have changed. Starts no run.",
        minimum_interval_seconds=SENSOR_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sources(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        new, unseen = [], []
        for study in studies:
            try:
                observation = _news(study, context.instance)
            except (DataError, OSError) as error:
                unseen.append(f"study {study.name}: {error}")
                continue
            if observation is not None:
                new.append(observation)
        for sentence in unseen:
            context.log.info(sentence)
        seen = len(studies) - len(unseen)
        return dg.SensorResult(
            asset_events=new,
            skip_reason=f"{len(new)} of {seen} sources recorded anew; {len(unseen)} more are not on this machine",
        )

    return sources


def observe(study: Study, instance: dg.DagsterInstance) -> str:
    """Record the version of a study's source, if it is another than the one recorded last.

    Args:
        study: the study.
        instance: with the record.

    Returns:
        Why the source cannot be seen, such as a file that is not there; empty if it was.
    """
    try:
        observation = _news(study, instance)
    except (DataError, OSError) as error:
        return str(error)
    if observation is not None:
        instance.report_runless_asset_event(observation)
    return ""


@contextmanager
def reading(context: dg.AssetExecutionContext, study: Study) -> Iterator[Origin]:
    """Observe the source that the running step reads, so that the step's record says which version that was.

    Args:
        context: of the step, whose asset depends on the source.
        study: the study.

    Yields:
        The source, to be read now.

    Raises:
        DataError: it is not there.
        dagster.Failure: it changed while it was read.
    """
    before = last_observed(study, context.instance)
    found = origin(study.data, Path.cwd(), before)
    if found != before:
        context.log_event(_observation(study, found))
    # Dagster looked at the inputs when the step began; it must look again, before anybody observes something newer.
    step, key = context.get_step_execution_context(), asset_key(study, SOURCE)
    step.wipe_input_asset_version_info(key)
    step.maybe_fetch_and_get_input_asset_version_info(key)
    yield found
    if origin(study.data, Path.cwd(), found).version != found.version:
        raise dg.Failure(
            f"study {study.name}: {found.place} changed while it was read: materialize raw_dataset again"
        )


def last_observed(study: Study, instance: dg.DagsterInstance) -> Origin | None:
    """The source as it was recorded last.

    Args:
        study: the study.
        instance: with the record.
    """
    for record in instance.fetch_observations(asset_key(study, SOURCE), limit=1).records:
        observation = record.asset_observation
        if observation is not None and observation.data_version is not None:
            facts = {name: str(value.value) for name, value in observation.metadata.items()}
            return Origin(observation.data_version, facts.get(_PLACE, ""), facts.get(_FINGERPRINT, ""))
    return None


def _news(study: Study, instance: dg.DagsterInstance) -> dg.AssetObservation | None:
    before = last_observed(study, instance)
    found = origin(study.data, Path.cwd(), before)
    return None if found == before else _observation(study, found)


def _observation(study: Study, found: Origin) -> dg.AssetObservation:
    return dg.AssetObservation(
        asset_key(study, SOURCE),
        metadata=_metadata(found),
        tags={"dagster/data_version": found.version, "dagster/data_version_is_user_provided": "true"},
    )


def _metadata(found: Origin) -> dict[str, str]:
    facts = {_PLACE: found.place}
    return {**facts, _FINGERPRINT: found.fingerprint} if found.fingerprint else facts


def _kind(study: Study) -> str:
    if isinstance(study.data, TableData):
        return Path(study.data.path).suffix[1:].lower() or "file"
    return "huggingface" if isinstance(study.data, HubRows) else "python"
