"""The forward pass over all samples."""

import numpy as np
import pytest

from memo_assets.training.forward import forward

from . import language_task, resnet_task, vision_task


def test_results_are_in_sample_order_whatever_the_batches() -> None:
    task = language_task([0, 1, 2])
    one_by_one = forward(task, hidden=True, batch_tokens=1)
    together = forward(task, hidden=True)
    assert one_by_one.option_logits.shape == (3, 64, 4)
    assert one_by_one.loss.shape == (3, 64)
    assert one_by_one.hidden is not None
    assert together.hidden is not None
    assert [layer.shape for layer in one_by_one.hidden] == [(3, 64, 32)] * 2
    np.testing.assert_allclose(one_by_one.option_logits, together.option_logits, atol=2e-5)
    np.testing.assert_allclose(one_by_one.loss, together.loss, atol=2e-5)
    np.testing.assert_allclose(one_by_one.hidden, together.hidden, atol=2e-5)
    single = task.predict(np.array([17]), hidden=False)
    np.testing.assert_allclose(together.loss[:, 17], single.loss[:, 0].numpy(), atol=2e-5)


def test_some_samples_in_the_order_asked_for_and_no_hidden_states_by_default() -> None:
    task, rows = vision_task([0, 1]), np.array([40, 3, 63, 0])
    part, whole = forward(task, rows), forward(task, hidden=True, batch_tokens=7)
    assert part.hidden is None
    np.testing.assert_allclose(part.option_logits, whole.option_logits[:, rows], atol=1e-6)
    np.testing.assert_allclose(part.loss, whole.loss[:, rows], atol=1e-6)
    assert whole.hidden is not None
    assert [layer.shape for layer in whole.hidden] == [(2, 64, 10)] * 2
    assert all((layer >= 0).all() for layer in whole.hidden)


def test_layers_may_have_different_widths() -> None:
    task = resnet_task([0, 1])
    part, whole = forward(task, hidden=True, batch_tokens=20), forward(task, hidden=True)
    assert part.hidden is not None
    assert whole.hidden is not None
    assert [layer.shape for layer in part.hidden] == [(2, 64, 16), (2, 64, 32), (2, 64, 64)]
    for some, all_at_once in zip(part.hidden, whole.hidden, strict=True):
        np.testing.assert_allclose(some, all_at_once, atol=1e-5)


def test_some_samples_of_a_language_model_have_the_states_they_have_among_all() -> None:
    task, rows = language_task([0, 1]), np.array([50, 7, 21])
    part, whole = forward(task, rows, hidden=True), forward(task, hidden=True)
    assert part.hidden is not None
    assert whole.hidden is not None
    for some, of_all in zip(part.hidden, whole.hidden, strict=True):
        np.testing.assert_allclose(some, of_all[:, rows], atol=2e-5)


@pytest.mark.parametrize(
    ("samples", "given"), [([], "none"), ([3, 64], "from 3 to 64"), ([-1, 5], "from -1 to 5")]
)
def test_samples_that_the_data_do_not_hold_are_refused(samples: list[int], given: str) -> None:
    with pytest.raises(ValueError, match=f"samples: {given} given, expected positions 0 to 63"):
        forward(vision_task([0]), np.array(samples, dtype=np.int64))


def test_short_samples_are_not_padded_to_the_longest() -> None:
    task = language_task([0])
    passes: list[np.ndarray] = []
    predict = task.predict
    task.predict = lambda rows, *, hidden: passes.append(task.lengths[rows]) or predict(rows, hidden=hidden)  # type: ignore[method-assign]
    forward(task)
    assert task.lengths[:64].min() < 0.8 * task.lengths[:64].max()
    assert all(lengths.min() >= 0.8 * lengths.max() for lengths in passes)
    assert sum(len(lengths) for lengths in passes) == 64
