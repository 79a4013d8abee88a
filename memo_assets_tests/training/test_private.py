"""DP-SGD: per-sample gradients against torch.func, noise by its seeds, epsilon."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from memo_assets.config import Dp
from memo_assets.training.interruption import Interrupted
from memo_assets.training.language import LanguageTask
from memo_assets.training.loop import train
from memo_assets.training.privacy import privacy_of
from memo_assets.training.private import private_gradients
from memo_assets.training.vision import VisionTask

from . import language_task, recipe, train_rows, vision_task

SEEDS = [2, 7, 9]
QUIET = Dp(noise_multiplier=1e-12, max_norm=0.05, delta=1e-5)  # noise below the precision of float32


def private(
    task: VisionTask | LanguageTask, rows: np.ndarray, dp: Dp, step: int = 0
) -> dict[str, torch.Tensor]:
    private_gradients(task, rows, dp, step=step, first_pass=0)
    found = {}
    for name, parameter in task.parameters().items():
        assert parameter.grad is not None
        found[name], parameter.grad = parameter.grad, None
    return found


def test_clipped_gradients_are_those_of_torch_func_for_each_sample_alone() -> None:
    task, rows = vision_task(SEEDS), train_rows(SEEDS, 8)
    found = private(task, rows, QUIET)
    norms = []
    for k in range(len(SEEDS)):
        alone = vision_task(SEEDS[k : k + 1])
        network = alone._network
        weights = {name: value.detach() for name, value in network.named_parameters()}

        def loss(weights: dict, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            logits, _ = functional_call(network, weights, (image[None, None],))  # noqa: B023
            return functional.cross_entropy(logits[0], label[None])

        images, labels = alone._images[rows[k]], alone._labels[rows[k]]
        each = vmap(grad(loss), in_dims=(None, 0, 0))(weights, images, labels)
        norm = torch.stack([value.flatten(1).norm(dim=1) for value in each.values()]).norm(dim=0)
        norms += norm.tolist()
        factor = (QUIET.max_norm / norm).clamp(max=1.0)
        for name, value in each.items():
            expected = torch.einsum("b,b...->...", factor, value)[0] / rows.shape[1]
            torch.testing.assert_close(found[name][k], expected, atol=1e-7, rtol=1e-4)
    assert min(norms) > QUIET.max_norm  # so all of them are clipped
    loose = private(task, rows, Dp(noise_multiplier=1e-12, max_norm=1e3, delta=1e-5))
    (task.losses(rows, 0).mean(dim=1).sum()).backward()
    for name, parameter in task.parameters().items():  # and with no clipping it is the plain gradient
        assert parameter.grad is not None
        torch.testing.assert_close(loose[name], parameter.grad, atol=1e-6, rtol=1e-4)


def test_adapters_are_clipped_sample_by_sample_as_each_alone() -> None:
    rows = train_rows(SEEDS, 5)
    found = private(language_task(SEEDS), rows, QUIET)
    for k, seed in enumerate(SEEDS):
        alone = language_task([seed])
        total = {name: torch.zeros_like(value) for name, value in alone.parameters().items()}
        for row in rows[k]:
            alone.losses(np.array([[row]]), 0).sum().backward()
            gradients = {name: value.grad for name, value in alone.parameters().items()}
            norm = torch.stack([g.norm() for g in gradients.values() if g is not None]).norm()
            for name, parameter in alone.parameters().items():
                if parameter.grad is not None:
                    total[name] += parameter.grad * (QUIET.max_norm / norm).clamp(max=1.0)
                parameter.grad = None
        for name, value in total.items():
            torch.testing.assert_close(found[name][k], value[0] / 5, atol=1e-6, rtol=1e-3)


def test_noise_has_its_size_and_depends_on_split_seed_and_step_alone() -> None:
    loud = Dp(noise_multiplier=2.0, max_norm=0.05, delta=1e-5)
    rows = train_rows(SEEDS, 4)
    quiet = private(vision_task(SEEDS), rows, QUIET)

    def noise(seeds: list[int], step: int) -> torch.Tensor:
        found = private(vision_task(seeds), rows[[SEEDS.index(seed) for seed in seeds]], loud, step)
        places = [SEEDS.index(seed) for seed in seeds]
        return torch.cat([(found[name] - quiet[name][places]).flatten(1) for name in found], dim=1)

    first = noise(SEEDS, 0)
    n = first.shape[1]
    for of_model in first:  # sd of 2 x 0.05 over a batch of 4; 5 standard errors to each side
        assert float(of_model.std()) == pytest.approx(2.0 * 0.05 / 4, rel=5 / (2 * n) ** 0.5)
    torch.testing.assert_close(noise([9], 0)[0], first[2], atol=1e-6, rtol=1e-4)
    assert (first[0] - first[1]).abs().max() > 1e-3
    assert (noise(SEEDS, 1) - first).abs().max() > 1e-3


def test_an_interrupted_private_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    dp = Dp(noise_multiplier=1.0, max_norm=0.5, delta=1e-5)

    def final(folder: Path, stop_at: int) -> list[torch.Tensor]:
        for _ in range(2):
            task, made = vision_task(SEEDS), []
            try:
                train(
                    task,
                    train_rows(SEEDS, 20),
                    recipe(2),
                    dp=dp,
                    state_path=folder / "state",
                    on_checkpoint=lambda *_: None,
                    on_progress=lambda step, _total: made.append(step),  # noqa: B023
                    should_stop=lambda: made[-1] == stop_at,  # noqa: B023
                )
            except Interrupted:
                continue
            return [weight.detach().clone() for weight in task.parameters().values()]
        raise AssertionError("interrupted twice")

    straight, resumed = final(tmp_path / "a", -1), final(tmp_path / "b", 4)
    assert all(torch.equal(one, other) for one, other in zip(straight, resumed, strict=True))


def test_dp_and_samples_left_out_are_refused_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dp and left_out given together"):
        train(
            vision_task(SEEDS), train_rows(SEEDS), recipe(1), dp=QUIET, left_out=np.arange(64) == 0,
            state_path=tmp_path / "state", on_checkpoint=lambda *_: None,
        )  # fmt: skip


def test_epsilon_of_full_batches_is_that_of_the_gaussian_mechanism() -> None:
    # Without sampling, T steps have RDP alpha T / (2 sigma^2); converted as in Canonne, Kamath and Steinke 2020.
    dp, steps, delta = Dp(noise_multiplier=4.0, max_norm=1.0, delta=1e-5), 10, 1e-5
    found = privacy_of(dp, recipe(steps, batch_size=40), 40)
    alphas = np.concatenate([1 + np.arange(1, 100) / 10, np.arange(12, 64)])
    rdp = alphas * steps / (2 * 4.0**2)
    by_hand = (rdp - (np.log(delta) + np.log(alphas)) / (alphas - 1) + np.log((alphas - 1) / alphas)).min()
    assert found["epsilon"] == pytest.approx(by_hand, rel=1e-6)
    assert (found["delta"], "Poisson" in str(found["assumes"])) == (1e-5, True)
    sampled = privacy_of(dp, recipe(steps, batch_size=4), 40)["epsilon"]
    assert float(sampled) < float(found["epsilon"])
