"""Magnitude pruning, by hand."""

import torch

from memo_assets.training.pruning import prune_smallest

from . import language_task, resnet_task


def test_the_smallest_weights_of_each_matrix_of_each_model_are_zero() -> None:
    first = torch.nn.Parameter(torch.tensor([[[1.0, -2.0], [3.0, -4.0]], [[-8.0, 7.0], [0.5, 6.0]]]))
    bias = torch.nn.Parameter(torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    prune_smallest({"w": first, "b": bias}, 0.5)
    assert first.tolist() == [[[0.0, 0.0], [3.0, -4.0]], [[-8.0, 7.0], [0.0, 0.0]]]
    assert bias[0, 0] > 0
    ties = torch.nn.Parameter(torch.ones(1, 2, 3))
    prune_smallest({"w": ties}, 0.4)  # 2.4 of six: two, the first of equal ones
    assert ties.flatten().tolist() == [0, 0, 1, 1, 1, 1]


def test_factors_of_adapters_and_kernels_are_pruned_and_vectors_are_not() -> None:
    for task in (language_task([0, 1]), resnet_task([0, 1])):
        before = {name: weight.detach().clone() for name, weight in task.parameters().items()}
        prune_smallest(task.parameters(), 0.25)
        for name, weight in task.parameters().items():
            kept = weight.detach() != 0
            if weight.dim() < 3:
                assert torch.equal(weight.detach(), before[name])
                continue
            assert torch.equal(weight.detach()[kept], before[name][kept])
            n = weight[0].numel()
            if before[name].all():  # B starts at 0
                assert (~kept).flatten(1).sum(dim=1).tolist() == [n // 4] * 2
