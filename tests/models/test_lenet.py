"""LeNet-5 against the paper's numbers, against naive loops, and, where they are at hand, against other engines."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor
from minicnn.errors import ArgumentError, ShapeError
from models.lenet import C3_TABLE, MAPLoss, PartialConv2d, Subsampling, rbf_codes


@pytest.mark.parametrize(("name", "params", "macs"), [("lenet5", 61_706, 416_520), ("lenet5_1998", 60_000, 325_680)])
def test_parameters_and_multiply_adds_are_the_published_ones(name, params, macs):
    model = models.create_model(name)
    summary = model.summary(models.input_shape(name))
    assert sum(p.size for p in model.parameters()) == params == summary.params
    assert summary.macs == macs


def test_layers_of_1998_have_the_papers_counts():
    counts = {name: sum(p.size for p in child.parameters()) for name, child in models.lenet5_1998().named_children()}
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164}


def test_c3_is_connected_as_table_1_says():
    """Six maps of three neighbours, six of four, three of four in two pairs, one of all; 60 kernels in all."""
    assert sum(map(len, C3_TABLE)) == 60
    assert all(set(C3_TABLE[k]) == {k % 6, (k + 1) % 6, (k + 2) % 6} for k in range(6))
    assert all(set(C3_TABLE[6 + k]) == {(k + i) % 6 for i in range(4)} for k in range(6))
    assert all(set(C3_TABLE[12 + k]) == {k, k + 1, (k + 3) % 6, (k + 4) % 6} for k in range(3))
    assert set(C3_TABLE[15]) == set(range(6))


def test_partial_convolution_is_the_sum_over_its_connections_only():
    table = ((0, 2), (1,), (2, 0, 1))
    layer = PartialConv2d(3, table, 2).to("float64")
    generator = np.random.default_rng(0)
    for parameter in layer.parameters():
        parameter.copy_(generator.normal(size=parameter.shape))
    x = generator.normal(size=(2, 3, 4, 5))
    expected = np.zeros((2, 3, 3, 4))
    for k, inputs in enumerate(table):
        for n in range(2):
            for p in range(3):
                for q in range(4):
                    patches = x[n, list(inputs), p : p + 2, q : q + 2]
                    expected[n, k, p, q] = layer.bias.numpy()[k] + (patches * layer.w[k].numpy()[0]).sum()
    np.testing.assert_allclose(layer(Tensor(x)), expected, rtol=1e-12)


def test_subsampling_squashes_scaled_means():
    layer = Subsampling(2).to("float64")
    layer.coef.copy_([0.5, -1.5])
    layer.bias.copy_([0.1, 0.2])
    x = np.random.default_rng(1).normal(size=(1, 2, 4, 6))
    means = x.reshape(1, 2, 2, 2, 3, 2).mean(axis=(3, 5))
    inside = means * np.array([0.5, -1.5])[:, None, None] + np.array([0.1, 0.2])[:, None, None]
    np.testing.assert_allclose(layer(Tensor(x)), 1.7159 * np.tanh(2 / 3 * inside), rtol=1e-12)


def test_codes_are_ten_different_bitmaps_of_ink_and_paper():
    codes = rbf_codes()
    assert codes.shape == (10, 84) and set(np.unique(codes)) == {-1.0, 1.0}
    distances = ((codes[:, None] - codes[None]) ** 2).sum(-1) / 4
    assert distances[~np.eye(10, dtype=bool)].min() >= 8, "two digits differ in too few pixels to be told apart"


def test_1998_output_is_the_negative_squared_distance_to_each_code():
    model = models.lenet5_1998()
    seen = []
    model.f6.register_forward_hook(lambda module, inputs, output: seen.append(output.numpy()))
    output = model(Tensor(np.random.default_rng(2).normal(size=(3, 1, 32, 32)).astype(np.float32)))
    f6 = 1.7159 * np.tanh(2 / 3 * seen[0])
    expected = -((f6[:, None, :] - rbf_codes()[None]) ** 2).sum(-1)
    np.testing.assert_allclose(output, expected, rtol=1e-4)


def test_map_loss_is_equation_9():
    distances = np.random.default_rng(3).uniform(0, 6, size=(5, 10))
    labels = np.array([3, 0, 9, 9, 1])
    right = distances[np.arange(5), labels]
    expected = np.mean(right + np.log(np.exp(-0.7) + np.exp(-distances).sum(axis=1)))
    assert MAPLoss(j=0.7)(Tensor(-distances), labels).item() == pytest.approx(expected, rel=1e-12)


def test_initial_weights_of_1998_stay_within_the_papers_bound():
    minicnn.manual_seed(5)
    model = models.lenet5_1998()
    for weight, fan_in in ((model.c1.weight, 25), (model.c5.weight, 400), (model.f6.weight, 120)):
        largest = np.abs(weight.numpy()).max()
        assert 0.9 * 2.4 / fan_in < largest <= 2.4 / fan_in


def test_one_seed_one_network():
    def weights(seed):
        minicnn.manual_seed(seed)
        return np.concatenate([p.numpy().ravel() for p in models.lenet5().parameters()])

    np.testing.assert_array_equal(weights(1), weights(1))
    assert (weights(1) != weights(2)).mean() > 0.99


def test_options_and_their_limits():
    assert models.lenet5(num_classes=7, in_channels=3)(Tensor(np.zeros((2, 3, 32, 32), np.float32))).shape == (2, 7)
    with pytest.raises(ArgumentError, match="codes for 10 digits"):
        models.create_model("lenet5_1998", num_classes=11)
    with pytest.raises(ArgumentError, match="did you mean lenet5"):
        models.create_model("lenet6")


def test_a_wrong_input_is_told_by_path():
    with pytest.raises(ShapeError, match=r"^features\.0 \(Conv2d 1→6, 5×5\): conv2d expects 1 input channels, got 3"):
        models.lenet5()(Tensor(np.zeros((2, 3, 32, 32), np.float32)))
    with pytest.raises(ShapeError, match=r"^fc1 \(Linear 400→120\): linear expects input of shape \(\.\.\., 400\)"):
        models.lenet5()(Tensor(np.zeros((2, 1, 28, 28), np.float32)))
