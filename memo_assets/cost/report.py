"""An estimate in words."""

from memo_assets.config import Study
from memo_assets.cost.estimate import estimate
from memo_assets.cost.sizes import Given, find_sizes


def cost_lines(study: Study, given: Given, *, tflops: float, with_calibration: bool) -> dict[str, str]:
    """What a study takes, a line each by name.

    Args:
        study: the study.
        given: what the user states.
        tflops: 10^12 operations a second that one device reaches.
        with_calibration: also time a few steps on this machine.

    Raises:
        StudyError: something is not on this machine and not given.
    """
    sizes = find_sizes(study, given)
    size, model = sizes.study, sizes.model
    cost = estimate(size, model)
    lines = {
        "study": study.name,
        "samples": f"{size.samples:,}; each of {size.models} models trains on {size.n_train:,}",
        "steps": f"{size.steps:,} per model, {size.checkpoints} checkpoints",
        "parameters": f"{_short(model.total)}, of which {_short(model.trained)} are trained"
        if model.trained
        else _short(model.total),
    }
    if study.is_language:
        lines["tokens"] = (
            f"{size.tokens:.1f} per prompt; {_short(cost.train_tokens)} in training, {_short(cost.forward_tokens)} in "
            "forward passes"
        )
    lines |= {
        "operations": f"{cost.flops:.2e} FLOP: {cost.train_flops:.2e} of training, {cost.forward_flops:.2e} of forward passes",
        "disk": f"{_bytes(cost.checkpoint_bytes)} of checkpoints, at most {_bytes(cost.logits_bytes)} of logits",
        "device hours": f"{cost.device_hours(tflops):,.2f} at {tflops:g} TFLOP/s",
    }
    if with_calibration:
        from memo_assets.cost.calibrate import calibrate

        measured = calibrate(study, sizes)
        hours = measured.hours(sizes, study.compute.workers)
        lines["measured here"] = (
            f"{measured.step_seconds:.3g} s a step of {measured.pack} models, {1000 * measured.sample_seconds:.3g} ms a "
            f"sample and model in the forward pass, on one worker ({measured.device}, {study.compute.threads} threads)"
        )
        lines["so it takes"] = (
            f"about {60 * hours:,.0f} minutes with {study.compute.workers} workers side by side"
        )
    for number, remark in enumerate(sizes.remarks, start=1):
        lines[f"remark {number}"] = remark
    return lines


def _short(number: float) -> str:
    for unit, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number:.3g}"


def _bytes(number: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number / 1e3:.3g} kB"
