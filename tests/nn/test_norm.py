"""Layers that normalise: what they remember, what they are in training and in evaluation, what they keep alive."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, grad, nn, ops
from minicnn.errors import CheckpointError, GraphError
from minicnn.recompute import checkpoint


def batches(count, shape=(4, 3, 2, 2), seed=0):
    rng = np.random.default_rng(seed)
    return [2.0 + 3.0 * rng.standard_normal(shape) for _ in range(count)]


def layer(*args, **options):
    """A BatchNorm2d in double precision, with weights that are not 1 and 0."""
    norm = nn.BatchNorm2d(*args, **options).to("float64")
    for parameter, value in zip(norm.parameters(), (1.5, -0.5), strict=False):
        parameter.copy_(np.full(parameter.shape, value) + 0.1 * np.arange(parameter.size))
    return norm


def moments(x, c):
    """Mean and unbiased variance of channel c, in plain Python."""
    values = [float(v) for v in x[:, c].ravel()]
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)


def statistics(norm):
    return norm.running_mean.numpy().copy(), norm.running_var.numpy().copy(), int(norm.num_batches_tracked.item())


# --- running statistics -----------------------------------------------------------------------------------------------


def test_running_statistics_step_by_step(device):
    with minicnn.use(device):
        norm = layer(3, momentum=0.25)
        mean, var = [0.0] * 3, [1.0] * 3
        for step, x in enumerate(batches(3), start=1):
            norm(Tensor(x))
            for c in range(3):
                new_mean, new_var = moments(x, c)
                mean[c] += 0.25 * (new_mean - mean[c])
                var[c] += 0.25 * (new_var - var[c])
            np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-12)
            np.testing.assert_allclose(norm.running_var.numpy(), var, rtol=1e-12)
            assert norm.num_batches_tracked.item() == step


def test_a_count_of_batches_that_moves_is_newer_than_before(device):
    with minicnn.use(device):
        norm = layer(3)
        before, array = norm.num_batches_tracked.version[0], norm.num_batches_tracked.data
        norm(Tensor(batches(1)[0]))
    assert norm.num_batches_tracked.version[0] == before + 1
    assert norm.num_batches_tracked.data is array


def test_momentum_none_is_the_mean_over_all_batches(device):
    with minicnn.use(device):
        norm, seen = layer(3, momentum=None), batches(5)
        for x in seen:
            norm(Tensor(x))
        for c in range(3):
            means, variances = zip(*(moments(x, c) for x in seen), strict=True)
            np.testing.assert_allclose(norm.running_mean.numpy()[c], sum(means) / 5, rtol=1e-12)
            np.testing.assert_allclose(norm.running_var.numpy()[c], sum(variances) / 5, rtol=1e-12)


def test_only_a_forward_in_training_moves_them(device):
    """Not evaluation, not backward, not a derivative of it, not a call that fails."""
    with minicnn.use(device):
        norm = layer(3)
        x = Tensor(batches(1)[0], requires_grad=True)
        y = norm(x)
        after = statistics(norm)
        (gx,) = grad((y * y * y).sum(), x, create_graph=True)
        (gx * gx).sum().backward()
        norm.eval()
        norm(x).sum().backward()
        norm.train()
        with pytest.raises(minicnn.errors.ShapeError):
            norm(x[:1, :, :1, :1])
        for now, then in zip(statistics(norm), after, strict=True):
            np.testing.assert_array_equal(now, then)
        assert after[2] == 1


@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_checkpoint_moves_them_once(momentum):
    plain, again = layer(3, momentum=momentum), layer(3, momentum=momentum)
    for array in batches(3):
        gradients = []
        for call in (plain, lambda x: checkpoint(again, x)):
            x = Tensor(array, requires_grad=True)
            y = call(x)
            (y * y * y).sum().backward()
            gradients.append(x.grad.numpy())
        np.testing.assert_array_equal(*gradients)
    for one, two in zip(statistics(plain), statistics(again), strict=True):
        np.testing.assert_array_equal(one, two)
    assert statistics(again)[2] == 3


def test_training_after_evaluation_does_not_disturb_its_graph():
    norm = layer(3).eval()
    x = Tensor(batches(1)[0], requires_grad=True)
    (norm(x) ** 3).sum().backward()
    expected = x.grad.numpy().copy()
    x.grad = None
    y = norm(x)
    norm.train()(Tensor(batches(1, seed=1)[0]))
    (y**3).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_a_graph_that_needs_the_old_statistics_says_so():
    """A buffer that took part in an op as a tensor: its version counts."""
    norm = layer(3)
    x = Tensor(batches(1)[0], requires_grad=True)
    y = x * norm.running_var.reshape(3, 1, 1)
    norm(x)
    with pytest.raises(GraphError, match="changed in place"):
        y.sum().backward()


def test_reset():
    norm = layer(3)
    fresh = statistics(norm)
    norm(Tensor(batches(1)[0]))
    norm.reset_running_stats()
    for one, two in zip(statistics(norm), fresh, strict=True):
        np.testing.assert_array_equal(one, two)


# --- modes ------------------------------------------------------------------------------------------------------------


def test_evaluation_uses_what_training_has_left(device):
    with minicnn.use(device):
        norm = layer(3, eps=0.1)
        for x in batches(3):
            norm(Tensor(x))
        mean, var, _ = statistics(norm)
        x = batches(1, seed=5)[0]
        y = norm.eval()(Tensor(x)).numpy()
        w, b = norm.weight.numpy(), norm.bias.numpy()
        for c in range(3):
            expected = w[c] * (x[:, c] - mean[c]) / math.sqrt(var[c] + 0.1) + b[c]
            np.testing.assert_allclose(y[:, c], expected, rtol=1e-12)


def test_frozen_outlives_train(device):
    with minicnn.use(device):
        norm = layer(3)
        model = nn.Sequential(norm)
        for x in batches(2):
            model(Tensor(x))
        before = statistics(norm)
        x = batches(1, seed=7)[0]
        expected = model.eval()(Tensor(x)).numpy()
        norm.freeze()
        model.train()
        assert norm.training and norm.frozen
        leaf = Tensor(x, requires_grad=True)
        y = model(leaf)
        np.testing.assert_array_equal(y.numpy(), expected)
        y.sum().backward()
        scale = norm.weight.numpy() / np.sqrt(before[1] + 1e-5)
        np.testing.assert_allclose(leaf.grad.numpy(), np.broadcast_to(scale[:, None, None], x.shape), rtol=1e-12)
        assert norm.weight.grad is not None and norm.bias.grad is not None, "weight and bias are trained on"
        assert model(Tensor(x[:1, :, :1, :1])).shape == (1, 3, 1, 1), "one value a channel is enough"
        for now, then in zip(statistics(norm), before, strict=True):
            np.testing.assert_array_equal(now, then)
        norm.freeze(False)
        model(Tensor(x))
        assert statistics(norm)[2] == before[2] + 1


def test_frozen_from_the_start_and_all_layers_at_once():
    assert nn.BatchNorm2d(3, frozen=True).frozen
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm2d(2)))
    model.apply(lambda module: module.freeze() if isinstance(module, nn.BatchNorm2d) else None)
    assert model[1].frozen and model[2][0].frozen


def test_without_running_statistics_the_batch_decides(device):
    with minicnn.use(device):
        norm = layer(3, track_running_stats=False)
        assert [name for name, _ in norm.named_buffers()] == []
        x = Tensor(batches(1)[0])
        np.testing.assert_array_equal(norm(x).numpy(), norm.eval()(x).numpy())


def test_without_weight_and_bias():
    norm = layer(3, affine=False)
    assert list(norm.parameters()) == [] and norm.weight is None and norm.bias is None
    y = norm(Tensor(batches(1)[0])).numpy()
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var((0, 2, 3)), 1, rtol=1e-4)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5)])
def test_batch_norm_1d_is_batch_norm_2d_of_thin_images(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    one, two = nn.BatchNorm1d(3).to("float64"), layer(3)
    two.load_state_dict(one.state_dict())
    y = one(Tensor(x)).numpy()
    np.testing.assert_allclose(two(Tensor(x.reshape(*shape[:2], -1, 1))).numpy().reshape(shape), y, rtol=1e-12)
    np.testing.assert_allclose(one.running_var.numpy(), two.running_var.numpy(), rtol=1e-12)


# --- state ------------------------------------------------------------------------------------------------------------


def test_state_is_pytorchs():
    norm = nn.BatchNorm2d(4)
    state = norm.state_dict()
    assert list(state) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert [v.numpy().tolist() for v in state.values()] == [[1] * 4, [0] * 4, [0] * 4, [1] * 4, 0]
    assert [str(v.dtype) for v in state.values()] == ["float32"] * 4 + ["int64"]
    assert [name for name, _ in norm.named_parameters()] == ["weight", "bias"]
    assert norm.to("float64").num_batches_tracked.dtype == "int64"
    trained = layer(4)
    trained(Tensor(batches(1, (4, 4, 2, 2))[0]))
    norm.load_state_dict(trained.state_dict())
    for a, b in zip(statistics(norm), statistics(trained), strict=True):
        np.testing.assert_array_equal(a, b)


def test_frozen_batch_norm_is_all_buffers(device):
    with minicnn.use(device):
        source = layer(3)
        for x in batches(2):
            source(Tensor(x))
        norm = nn.FrozenBatchNorm2d(3).to("float64")
        assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var"]
        assert list(norm.parameters()) == []
        state = source.state_dict()
        with pytest.raises(CheckpointError, match="num_batches_tracked"):
            norm.load_state_dict(state)
        norm.load_state_dict(state, strict=False)
        x = Tensor(batches(1, seed=3)[0])
        np.testing.assert_array_equal(norm(x).numpy(), source.eval()(x).numpy())
        np.testing.assert_array_equal(norm.train()(x).numpy(), norm.eval()(x).numpy())


def test_how_they_look():
    assert repr(nn.BatchNorm2d(64)) == "BatchNorm2d(64)"
    assert repr(nn.BatchNorm2d(64, eps=1e-3, momentum=None, frozen=True)) == (
        "BatchNorm2d(64, eps 0.001, momentum None, frozen)"
    )
    assert repr(nn.LocalResponseNorm(5, k=2)) == "LocalResponseNorm(size 5, alpha 0.0001/5, beta 0.75, k 2)"
    assert (
        repr(nn.LocalResponseNorm(5, divide_alpha=False)) == "LocalResponseNorm(size 5, alpha 0.0001, beta 0.75, k 1)"
    )
    assert repr(nn.GroupNorm(4, 32)) == "GroupNorm(32, 4 groups)"
    assert repr(nn.LayerNorm((3, 5))) == "LayerNorm(3 × 5)"
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
    summary = model.summary((3, 6, 6))
    assert summary.params == 8 * 27 + 16 and summary.rows[-1].output_shape == (1, 8, 4, 4)


# --- fused, and what is kept ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["train", "eval", "frozen"])
def test_a_residual_block_in_one_op(mode, device):
    """norm(x, residual, "relu") is relu(norm(x) + residual), statistics included."""
    with minicnn.use(device):
        results = []
        for fused in (True, False):
            norm = layer(3)
            norm(Tensor(batches(1, seed=9)[0]))
            norm.train(mode == "train").freeze(mode == "frozen")
            x, r = (Tensor(array, requires_grad=True) for array in batches(2))
            y = norm(x, r, "relu") if fused else ops.relu(norm(x) + r)
            (y * y).sum().backward()
            leaves = [x.grad, r.grad, *(p.grad for p in norm.parameters())]
            results.append([y.numpy(), *(g.numpy() for g in leaves), *statistics(norm)])
        for one, other in zip(*results, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def kept(y, *given):
    """How many numbers the graph of y keeps alive, beside y and what was given."""
    known = [y.numpy(), *(t.numpy() for t in given)]
    arrays = {id(a): a for a in y.grad_fn.kept_arrays() if not any(a is k for k in known)}
    return sum(a.size for a in arrays.values())


def test_nothing_of_the_size_of_x_is_kept_beside_x_and_y():
    shape, channels = (2, 3, 20, 20), 3
    x, r = (Tensor(a, requires_grad=True) for a in batches(2, shape))
    norm = layer(3)
    for options in ((), (None, "relu"), (r, "relu"), (r, "relu6")):
        y = norm.train()(x, *options)
        assert kept(y, x, norm.weight) <= 2 * channels
        if not options:
            assert not any(a is y.numpy() for a in y.grad_fn.kept_arrays()), "without an activation y is not needed"
    norm.requires_grad_(False)
    y = norm.eval()(x)
    assert not any(a is x.numpy() for a in y.grad_fn.kept_arrays()), "with given statistics gx does not need x"
    y = ops.local_response_norm(x, 3)
    assert kept(y, x) == 0 and not any(a is y.numpy() for a in y.grad_fn.kept_arrays())


# --- the other norms --------------------------------------------------------------------------------------------------


def test_group_norm_between_instance_and_layer_norm():
    """One group is layer norm over (C, H, W), C groups normalise each plane by itself."""
    x = Tensor(batches(1, (2, 4, 3, 3))[0])
    one, each = (nn.GroupNorm(groups, 4, affine=False)(x).numpy() for groups in (1, 4))
    np.testing.assert_allclose(one, nn.LayerNorm((4, 3, 3), elementwise_affine=False)(x).numpy(), rtol=1e-12)
    planes = x.numpy()
    deviation = np.sqrt(planes.var((2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(each, (planes - planes.mean((2, 3), keepdims=True)) / deviation, rtol=1e-10)


def test_parameters_of_group_and_layer_norm():
    assert {n: p.shape for n, p in nn.GroupNorm(2, 4).named_parameters()} == {"weight": (4,), "bias": (4,)}
    assert {n: p.shape for n, p in nn.LayerNorm((3, 5)).named_parameters()} == {"weight": (3, 5), "bias": (3, 5)}
    assert [n for n, _ in nn.LayerNorm(7, bias=False).named_parameters()] == ["weight"]
    assert [n for n, _ in nn.LayerNorm(7, elementwise_affine=False).named_parameters()] == []
    assert nn.GroupNorm(2, 4)(Tensor(np.ones((2, 4, 3), np.float32))).shape == (2, 4, 3)
    assert nn.LayerNorm(np.int64(5))(Tensor(np.ones((2, 5), np.float32))).shape == (2, 5)


def test_local_response_norm_by_hand(device):
    """Krizhevsky et al. 2012, section 3.3, with n = 5; and a window of four, which reaches two down and one up."""
    x = np.arange(1.0, 7.0)
    with minicnn.use(device):
        alexnet = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2, divide_alpha=False)
        y = alexnet(Tensor(x.reshape(1, 6, 1, 1))).numpy().ravel()
        even = ops.local_response_norm(Tensor(x.reshape(1, 6)), 4, alpha=4.0, beta=1.0, k=1.0).numpy().ravel()
    sums = [1 + 4 + 9, 1 + 4 + 9 + 16, 1 + 4 + 9 + 16 + 25, 4 + 9 + 16 + 25 + 36, 9 + 16 + 25 + 36, 16 + 25 + 36]
    np.testing.assert_allclose(y, [x[i] / (2 + 1e-4 * s) ** 0.75 for i, s in enumerate(sums)], rtol=1e-12)
    sums = [1 + 4, 1 + 4 + 9, 1 + 4 + 9 + 16, 4 + 9 + 16 + 25, 9 + 16 + 25 + 36, 16 + 25 + 36]
    np.testing.assert_allclose(even, [x[i] / (1 + s) for i, s in enumerate(sums)], rtol=1e-12)


def test_local_response_norm_divides_alpha_by_name():
    x = Tensor(batches(1)[0])
    divided = ops.local_response_norm(x, 5, alpha=5.0).numpy()
    np.testing.assert_allclose(
        ops.local_response_norm(x, 5, alpha=1.0, divide_alpha=False).numpy(), divided, rtol=1e-12
    )
