"""Why a run failed, in words, from the events that Dagster recorded.

What belongs here: events to sentences. What does not: which assets are failed (`staleness`).
"""

import dagster as dg

_INTERRUPTED = "interrupted; what is finished is kept: run the same command again to go on"
_LONGEST = 160
_WRAPPERS = ("DagsterExecutionStepExecutionError", "RetryRequested")


def step_failure(event: dg.DagsterEvent) -> str:
    """What went wrong in a step: the first error of its failure event that Dagster has not wrapped around another.

    What we raise says what to do; the error that it came from would not.

    Args:
        event: a step failure.
    """
    error = event.step_failure_data.error
    while error is not None and error.cause is not None and error.cls_name in _WRAPPERS:
        error = error.cause
    if error is not None and error.cls_name == "DagsterExecutionInterruptedError":
        return _INTERRUPTED
    return _without_class(error.message.strip()) if error else "failed"


def run_failure(instance: dg.DagsterInstance, run_id: str) -> str:
    """What went wrong in a failed run, in one short line: the error of its first failed step, else of the run.

    Args:
        instance: with the record.
        run_id: the run.
    """
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    events = [entry.dagster_event for entry in instance.all_logs(run_id, of_type=kinds)]
    found = [event for event in events if event is not None]
    said = next(
        (step_failure(event) for event in found if event.is_step_failure),
        next((event.message for event in found if event.message), ""),
    )
    line = next((line.strip() for line in said.splitlines() if line.strip()), "no reason was recorded")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST].rstrip()} ..."


def _without_class(message: str) -> str:
    """Our own errors are sentences; other people's need the name of their class to be understood."""
    name, _, rest = message.partition(": ")
    ours = name.startswith("memo_assets.") or name == "dagster._core.definitions.events.Failure"
    return rest if ours else message
