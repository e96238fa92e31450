"""Modules: what they own, in which order; state in and out; modes; errors that know their place; summary."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, nn
from minicnn.errors import ArgumentError, CheckpointError, DTypeError, GraphError, ShapeError


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 2)
        self.register_buffer("offset", np.array([1.0, 2.0], np.float32))
        self.scale = nn.Parameter(np.ones(2, np.float32))
        self.rest = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())

    def forward(self, x):
        return self.rest(self.first(x) * self.scale + self.offset)


def test_names_come_in_construction_order_own_state_before_childrens():
    block = Block()
    assert list(block.state_dict()) == ["scale", "offset", "first.weight", "first.bias", "rest.0.weight"]
    assert [name for name, _ in block.named_parameters()] == ["scale", "first.weight", "first.bias", "rest.0.weight"]
    assert [name for name, _ in block.named_buffers()] == ["offset"]
    assert [name for name, _ in block.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]


def test_a_shared_parameter_counts_once_but_is_saved_under_both_names():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 2, bias=False)
            self.b = nn.Linear(2, 2, bias=False)
            self.b.weight = self.a.weight

    tied = Tied()
    assert len(list(tied.parameters())) == 1
    assert list(tied.state_dict()) == ["a.weight", "b.weight"]


def test_state_goes_out_as_copies_and_comes_back():
    block, other = Block(), Block()
    state = block.state_dict()
    block.scale.copy_([7.0, 7.0])
    np.testing.assert_array_equal(state["scale"], [1.0, 1.0])
    other.load_state_dict({name: value.numpy() for name, value in state.items()})
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, state[name])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: s.pop("first.bias"), "  missing     first.bias (2,)"),
        (lambda s: s.update(more=np.ones(3)), "  unexpected  more (3,)"),
        (lambda s: s.update(scale=np.ones(3)), "  shape       scale: the model has (2,), the state (3,)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_with_the_difference_and_changes_nothing(change, line):
    block = Block()
    state = {name: value.numpy() + 1 for name, value in block.state_dict().items()}
    before = block.state_dict()
    change(state)
    with pytest.raises(CheckpointError, match="nothing was loaded") as error:
        block.load_state_dict(state)
    assert line in str(error.value).split("\n")
    for name, value in block.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_not_strict_takes_what_fits_by_name():
    block = Block()
    block.load_state_dict({"scale": np.array([3.0, 4.0]), "other": np.ones(1)}, strict=False)
    np.testing.assert_array_equal(block.scale, [3.0, 4.0])


def test_loading_casts_to_the_parameters_dtype():
    block = Block()
    block.load_state_dict({name: value.numpy().astype(np.float64) for name, value in block.state_dict().items()})
    assert {p.dtype for p in block.parameters()} == {np.dtype(np.float32)}


def test_train_and_eval_reach_all_modules():
    block = Block()
    assert all(not m.training for m in block.eval().modules()) and all(m.training for m in block.train().modules())


def test_to_casts_floating_state_in_place_and_moves():
    block = Block()
    block.register_buffer("count", np.array(3))
    weight = block.first.weight
    assert block.to("float64") is block and block.first.weight is weight
    assert {p.dtype for p in block.parameters()} == {np.dtype(np.float64)}
    assert block.offset.dtype == np.float64 and block.count.dtype == np.int64
    assert block.to(device="reference", dtype="float32")(Tensor(np.ones((1, 3), np.float32))).device == "reference"
    with pytest.raises(DTypeError):
        block.to("float12")


def test_assigning_something_else_to_a_parameter_is_refused():
    block = Block()
    with pytest.raises(GraphError, match="copy_"):
        block.scale = np.zeros(2)
    block.scale = nn.Parameter(np.zeros(2))
    assert block.scale.numpy().sum() == 0


def test_forgetting_super_init_is_explained():
    class Careless(nn.Module):
        def __init__(self):
            self.layer = nn.ReLU()

    with pytest.raises(GraphError, match=r"super\(\).__init__"):
        Careless()


def test_errors_carry_the_path_of_the_innermost_module():
    model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), nn.ReLU())
    with pytest.raises(ShapeError) as error:
        model(Tensor(np.ones((5, 3), np.float32)))
    assert str(error.value).startswith("0.1 (Linear 4→2): linear expects input of shape (..., 4)")


def test_forward_hooks_see_and_replace():
    layer, seen = nn.ReLU(), []
    layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    handle = layer.register_forward_hook(lambda module, inputs, output: output * 2.0)
    assert layer(Tensor([1.0, -1.0])).numpy().tolist() == [2.0, 0.0] and seen == [(2,)]
    handle.remove()
    assert layer(Tensor([1.0])).item() == 1.0


def test_dropout_reads_its_rate_at_each_call_and_rests_in_eval():
    layer, x = nn.Dropout(0.5), Tensor(np.ones(1000, np.float32))
    assert 350 < (layer(x).numpy() == 0).sum() < 650
    layer.p = 0.9
    assert (layer(x).numpy() == 0).sum() > 850
    layer.p = 0.0
    assert layer(x) is x
    layer.p = 1.0
    assert layer(x).numpy().sum() == 0
    assert layer.eval()(x) is x
    layer.train().p = 1.5
    with pytest.raises(ArgumentError, match=r"1\.5"):
        layer(x)


def test_dropout_masks_differ_between_calls_and_repeat_with_the_seed():
    layer, x = nn.Dropout(0.5), Tensor(np.ones(100, np.float32))
    minicnn.manual_seed(3)
    first, second = layer(x).numpy(), layer(x).numpy()
    minicnn.manual_seed(3)
    assert (first != second).any()
    np.testing.assert_array_equal(layer(x), first)


def test_containers():
    modules = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid())
    assert len(modules) == 3 and isinstance(modules[1], nn.Tanh) and len(modules[1:]) == 2
    names = [name for name, _ in nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)]).named_parameters()]
    assert names == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert len(list(nn.ParameterList([nn.Parameter(np.ones(1))] * 1).parameters())) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(3, 4, 3, groups=2),
        lambda: nn.Conv2d(0, 4, 3),
        lambda: nn.Conv2d(1, 4, 3, stride=0),
        lambda: nn.Linear(3, -1),
        lambda: nn.Dropout(-0.1),
    ],
)
def test_layers_refuse_impossible_sizes_when_they_are_made(make):
    with pytest.raises(ArgumentError):
        make()


def test_summary_counts_every_array_that_backward_needs_once():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(2 * 4 * 4, 5))
    summary = model.summary((1, 6, 6))
    assert summary.params == 2 * 9 + 32 * 5 + 5 and summary.macs == 2 * 16 * 9 + 160
    # the convolution keeps its input, tanh its output; the flattened view of it is the same array
    assert summary.activation_bytes == 4 * (36 + 32)
    assert summary.rows[1].output_shape == (1, 2, 4, 4)
    text = str(summary)
    assert "Conv2d 1→2, 3×3" in text and "1 × 5" in text and "183" in text
    assert all(module.training for module in model.modules()) and not model._forward_hooks


def test_summary_counts_shared_parameters_once():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = second.same = first.weight
    model = nn.Sequential(first, second, nn.ModuleList([first]))
    model[2].forward = lambda x: x
    summary = model.summary((1, 4))
    assert [row.params for row in summary.rows] == [0, 20, 4, 0]
    assert summary.params == summary.trainable_params == sum(p.size for p in model.parameters()) == 24


def test_summary_of_a_checkpoint_has_its_work_and_keeps_its_input_only():
    class Recomputed(nn.Sequential):
        def forward(self, x):
            return minicnn.checkpoint(super().forward, x)

    layers = nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)
    plain, recomputed = nn.Sequential(*layers).summary((3, 4)), Recomputed(*layers).summary((3, 4))
    assert (recomputed.params, recomputed.macs) == (plain.params, plain.macs) == (58, 144)
    assert plain.activation_bytes == 4 * 3 * (4 + 8) and recomputed.activation_bytes == 4 * 3 * 4


def test_summary_shows_frozen_parameters():
    model = nn.Linear(2, 2)
    model.weight.requires_grad_(False)
    assert "2 trainable parameters, 4 frozen" in str(model.summary((5, 2)))


@pytest.mark.parametrize("padding", [0, 1])
def test_relu_and_max_pool_together_are_what_they_are_apart(padding, device):
    """Sequential computes the pair in one op, unless a hook looks; values and gradients may not show it."""
    with minicnn.use(device):
        x = np.random.default_rng(0).normal(size=(2, 3, 7, 6))
        model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=padding), nn.Tanh())
        results = []
        for watched in (False, True):
            seen = []
            handle = model[0].register_forward_hook(lambda *args, seen=seen: seen.append(1)) if watched else None
            leaf = Tensor(x, requires_grad=True)
            y = model(leaf)
            y.backward(np.arange(y.size, dtype=float).reshape(y.shape))
            results.append((y.numpy(), leaf.grad.numpy()))
            assert len(seen) == watched
            if handle:
                handle.remove()
        np.testing.assert_array_equal(*[y for y, _ in results])
        np.testing.assert_array_equal(*[g for _, g in results])


def test_a_fused_pair_still_tells_where_it_failed():
    model = nn.Sequential(nn.Identity(), nn.ReLU(), nn.MaxPool2d(9))
    with pytest.raises(ShapeError, match=r"^2 \(MaxPool2d"):
        model(Tensor(np.ones((1, 1, 4, 4), np.float32)))


def test_traced_shapes_leave_no_trace():
    """Neither hooks, nor running statistics, nor the random stream notice; and nothing is computed."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten())
    model[0].register_forward_hook(lambda *_: pytest.fail("a hook was called"))
    minicnn.manual_seed(3)
    calls = minicnn.device.generator.calls
    shapes = nn.trace_shapes(model, (4, 1, 5, 6))
    assert shapes == {"": (4, 24), "0": (4, 2, 3, 4), "1": (4, 2, 3, 4), "2": (4, 2, 3, 4), "3": (4, 24)}
    assert list(shapes) == ["", "0", "1", "2", "3"]
    assert model[1].num_batches_tracked.item() == 0 and minicnn.device.generator.calls == calls
    with pytest.raises(ShapeError, match="does not fit"):
        nn.trace_shapes(model, (1, 1, 2, 2))
    assert model[0].has_hooks and not model[1].has_hooks
