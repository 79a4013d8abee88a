"""Packed wide residual networks against one built of torch's own modules."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from memo_assets.models.packed_wide_resnet import PackedWideResNet

from .plain_wide_resnet import Plain

SHAPE, CLASSES = (3, 9, 8), 5


def _packed(seeds: list[int], depth: int = 10, width: int = 2) -> PackedWideResNet:
    """With biases and scales that are not those of the start."""
    network = PackedWideResNet(SHAPE, CLASSES, depth=depth, width=width, seeds=seeds)
    with torch.no_grad():
        for k, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(seed)
            for parameter in network.parameters():
                if parameter.dim() == 2:
                    parameter[k] += torch.rand(parameter.shape[1:], generator=generator) / 4
    return network


def _plain(network: PackedWideResNet, k: int, depth: int = 10, width: int = 2) -> Plain:
    plain = Plain(depth, width, SHAPE, CLASSES)
    stacked = network.state_dict()
    missing, unexpected = plain.load_state_dict({name: t[k] for name, t in stacked.items()}, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return plain


@pytest.mark.parametrize(("depth", "width"), [(10, 2), (16, 1)])
def test_a_pack_equals_networks_of_torch_forward_backward_and_in_running_statistics(
    depth: int, width: int
) -> None:
    network = _packed([3, 5, 8], depth, width)
    plain = [_plain(network, k, depth, width) for k in range(3)]
    torch.manual_seed(0)
    x = torch.rand(3, 7, 3 * 9 * 8)
    for _ in range(2):
        network.zero_grad()
        x, labels = torch.rand_like(x), torch.randint(CLASSES, (3, 7))
        logits, hidden = network(x)
        functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum").backward()
        for k, single in enumerate(plain):
            single.zero_grad()
            expected, pooled = single(x[k])
            functional.cross_entropy(expected, labels[k], reduction="sum").backward()
            torch.testing.assert_close(logits[k], expected, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close([layer[k] for layer in hidden], pooled, atol=1e-5, rtol=1e-4)
            gradients = dict(single.named_parameters())
            for name, parameter in network.named_parameters():
                assert parameter.grad is not None
                torch.testing.assert_close(parameter.grad[k], gradients[name].grad, atol=2e-4, rtol=1e-3)
    for k, single in enumerate(plain):
        kept = dict(single.named_buffers())
        for name, buffer in network.named_buffers():
            torch.testing.assert_close(buffer[k], kept[name], atol=1e-6, rtol=1e-5)
    network.eval()
    logits, _ = network(x)
    for k, single in enumerate(plain):
        torch.testing.assert_close(logits[k], single.eval()(x[k])[0], atol=1e-4, rtol=1e-4)


def test_a_network_in_a_pack_is_the_one_that_is_trained_alone() -> None:
    x, labels = torch.rand(3, 7, 3 * 9 * 8), torch.randint(CLASSES, (3, 7))
    pack = PackedWideResNet(SHAPE, CLASSES, depth=10, width=1, seeds=[3, 5, 8])
    alone = PackedWideResNet(SHAPE, CLASSES, depth=10, width=1, seeds=[5])
    for name, parameter in alone.named_parameters():
        assert torch.equal(dict(pack.named_parameters())[name][1], parameter[0]), name
    assert not torch.equal(pack.conv.weight[0], pack.conv.weight[1])
    for network, rows in ((pack, slice(None)), (alone, slice(1, 2))):
        logits, _ = network(x[rows])
        functional.cross_entropy(logits.flatten(0, 1), labels[rows].flatten(), reduction="sum").backward()
    for name, parameter in alone.named_parameters():
        stacked = dict(pack.named_parameters())[name].grad
        assert stacked is not None
        assert parameter.grad is not None
        torch.testing.assert_close(stacked[1], parameter.grad[0], atol=1e-5, rtol=1e-4)
    for name, buffer in alone.named_buffers():
        torch.testing.assert_close(dict(pack.named_buffers())[name][1], buffer[0], atol=1e-6, rtol=1e-5)


def test_the_loss_of_one_model_moves_no_other() -> None:
    network = _packed([3, 5, 8])
    logits, _ = network(torch.rand(3, 7, 3 * 9 * 8))
    logits[1].square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert torch.count_nonzero(parameter.grad[[0, 2]]) == 0, name
        assert torch.count_nonzero(parameter.grad[1]) > 0, name


def test_only_training_depends_on_the_batch_and_changes_the_running_statistics() -> None:
    network = _packed([3])
    x = torch.rand(1, 6, 3 * 9 * 8)
    network(x)  # statistics other than those of the start
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    assert len(before) == 2 * 7
    network.eval()
    torch.testing.assert_close(network(x)[0][:, :2], network(x[:, :2])[0], atol=1e-5, rtol=1e-5)
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    network.train()
    assert (network(x)[0][:, :2] - network(x[:, :2])[0]).abs().max() > 1e-2
    assert not any(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_sizes_are_those_of_the_paper() -> None:
    network = PackedWideResNet((3, 32, 32), 10, depth=16, width=4, seeds=[0])
    # Table 4 of the paper: WRN-16-4 has 2.7 M parameters.
    assert sum(p.numel() for p in network.parameters()) == 2_748_890
    assert (network.n_inputs, network.n_classes, network.n_widest) == (3072, 10, 64 * 32 * 32)
    with torch.no_grad():
        _, hidden = network.eval()(torch.rand(1, 2, 3072))
    assert [layer.shape for layer in hidden] == [(1, 2, 64), (1, 2, 128), (1, 2, 256)]
    # Variance 2 / (9 x 256 channels out).
    last = network.groups[2][1].conv2.weight  # pyright: ignore[reportIndexIssue]
    assert float(last.detach().std()) == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
    assert float(network.weight.detach().abs().max()) <= 256**-0.5
    assert torch.count_nonzero(network.bias) == 0


def test_a_stored_model_comes_back_with_its_running_statistics(tmp_path: Path) -> None:
    network, other = _packed([3, 5]), _packed([1, 2, 4])
    x = torch.rand(1, 6, 3 * 9 * 8)
    network(x.expand(2, -1, -1))
    network.save(1, tmp_path / "model.safetensors")
    other.load(2, tmp_path / "model.safetensors")
    found, expected = (n.eval()(x.expand(len(n.seeds), -1, -1))[0] for n in (other, network))
    torch.testing.assert_close(found[2], expected[1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found[1], expected[1], atol=1e-2)
    assert all(
        torch.equal(dict(other.named_buffers())[name][2], buffer[1])
        for name, buffer in network.named_buffers()
    )
    with pytest.raises(ValueError, match=r"has shapes .*running_var.* expected"):
        _packed([1], width=1).load(0, tmp_path / "model.safetensors")


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images of 4 x 8 pixels given; .* at least 5 x 5"):
        PackedWideResNet((1, 4, 8), 2, depth=10, width=1, seeds=[0])
    with pytest.raises(ValueError, match="each once"):
        PackedWideResNet((1, 8, 8), 2, depth=10, width=1, seeds=[1, 1])
    # One pixel more is enough, with a single image.
    logits, _ = PackedWideResNet((1, 5, 5), 2, depth=10, width=1, seeds=[0])(torch.rand(1, 1, 25))
    assert torch.isfinite(logits).all()
