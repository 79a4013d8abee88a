"""Which layers are scored."""

import numpy as np
import pytest

from memo_assets.compute.scores import chosen_layers, layer_scores_at
from memo_assets.config import Scores

SETTINGS = {"psmi_directions": 20, "smi_directions": 3, "mahalanobis_components": 4}


def test_chosen_layers_have_the_scores_that_they_have_among_all() -> None:
    rng = np.random.default_rng(0)
    hidden = [rng.standard_normal((30, width)) for width in (6, 3, 6, 9)]
    labels = np.arange(30) % 3
    all_samples, all_layers = layer_scores_at(hidden, labels, Scores.model_validate(SETTINGS))
    samples, layers = layer_scores_at(hidden, labels, Scores.model_validate({**SETTINGS, "layers": [-1, 2]}))
    assert list(layers["layer"]) == [2, 4]
    np.testing.assert_array_equal(samples, all_samples[all_samples["layer"].isin([2, 4])])
    np.testing.assert_array_equal(layers, all_layers[all_layers["layer"].isin([2, 4])])
    assert (all_layers["psmi_directions"] == 20).all()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([5], r"scores.layers: given \[5\]; the model has the layers 1 to 4"),
        ([0, -5, 1], r"scores.layers: given \[0, -5\]"),
        ([4, -1], r"scores.layers: \[4, -1\] names a layer twice"),
    ],
)
def test_a_layer_that_is_not_there_is_named(wanted: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chosen_layers(wanted, 4)
