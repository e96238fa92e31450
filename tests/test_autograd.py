"""The engine itself: graphs, gradients, hooks, modes, memory. Ops are judged in test_op_properties.py."""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
import pytest

import minicnn
from minicnn import Function, Tensor, ops
from minicnn.errors import AnomalyError, DeviceError, DTypeError, GraphError, ShapeError


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values), requires_grad=True)


# --- values -----------------------------------------------------------------------------------------------------------


def test_gradient_of_a_tensor_used_twice_adds_up():
    x = leaf(2.0, 3.0)
    (x * x + x).sum().backward()
    np.testing.assert_array_equal(x.grad, [5.0, 7.0])


def test_backward_twice_accumulates_into_grad():
    x = leaf(2.0)
    for _ in range(3):
        (x * 4.0).sum().backward()
    assert x.grad.item() == 12.0


def test_diamond_passes_each_gradient_on_once_complete():
    """h must be differentiated once, with both parts: x -> h -> (a, b) -> y."""
    calls = []

    class Square(Function):
        def forward(self, x):
            self.save(x)
            return x * x

        def backward(self, gy):
            calls.append(1)
            (x,) = self.saved
            return gy * x * 2.0

    x = leaf(3.0)
    h = Square.apply(x)
    (h * 2.0 + h * 5.0).sum().backward()
    assert x.grad.item() == 42.0 and calls == [1]


def test_second_and_third_derivatives_of_a_polynomial():
    x = leaf(2.0, -1.5)
    (first,) = minicnn.grad((x**4).sum(), x, create_graph=True)
    (second,) = minicnn.grad(first.sum(), x, create_graph=True)
    (third,) = minicnn.grad(second.sum(), x)
    np.testing.assert_allclose(first, 4 * x.numpy() ** 3)
    np.testing.assert_allclose(second, 12 * x.numpy() ** 2)
    np.testing.assert_allclose(third, 24 * x.numpy())


@pytest.mark.parametrize("shape", [(), (1,), (2,)])
def test_a_saved_output_stays_in_the_graph_whatever_its_shape(shape):
    """NumPy gives scalars where shape is (): saved, they must still be known as the output."""
    x = Tensor(np.full(shape, 0.3), requires_grad=True)
    for op in (ops.exp, ops.tanh, ops.sigmoid, ops.sqrt):
        (first,) = minicnn.grad(op(x).sum(), x, create_graph=True)
        (second,) = minicnn.grad(first.sum(), x)
        y = op(x).numpy()
        expected = {ops.exp: y, ops.tanh: -2 * y * (1 - y * y), ops.sigmoid: y * (1 - y) * (1 - 2 * y),
                    ops.sqrt: -0.25 * 0.3**-1.5 + 0 * y}[op]  # fmt: skip
        np.testing.assert_allclose(second, expected, rtol=1e-12)


def test_backward_through_a_gradient_fills_grad():
    """The gradient penalty of WGAN-GP: a loss made of a gradient."""
    x = leaf(1.0, 2.0)
    (g,) = minicnn.grad((x**3).sum(), x, create_graph=True)
    (g * g).sum().backward()
    np.testing.assert_allclose(x.grad, 36 * x.numpy() ** 3)  # d/dx (3x²)²


def test_broadcast_gradients_are_summed_over_every_stretched_axis():
    a, b = Tensor(np.ones((3, 1, 4)), requires_grad=True), Tensor(np.ones((2, 1)), requires_grad=True)
    (a * b).sum().backward()
    np.testing.assert_array_equal(a.grad, np.full((3, 1, 4), 2.0))
    np.testing.assert_array_equal(b.grad, np.full((2, 1), 12.0))


def test_cotangent_weights_the_outputs():
    x = leaf(1.0, 2.0, 3.0)
    (x * x).backward(np.array([1.0, 10.0, 100.0]))
    np.testing.assert_array_equal(x.grad, [2.0, 40.0, 600.0])


def test_grad_of_inner_tensors_and_several_outputs():
    x = leaf(3.0)
    h = x * 2.0
    y, z = h * h, h + 1.0
    gx, gh = minicnn.grad([y, z], [x, h], grad_outputs=[Tensor(np.array([1.0])), Tensor(np.array([10.0]))])
    assert gh.item() == 2 * 6.0 + 10 and gx.item() == 2 * gh.item()
    assert x.grad is None and h.grad is None


def test_grad_runs_only_what_leads_to_the_inputs():
    ran = []

    class Watched(Function):
        def forward(self, x):
            return x + 0.0

        def backward(self, gy):
            ran.append(1)
            return gy

    x, other = leaf(1.0), leaf(1.0)
    minicnn.grad((x * 2.0 + Watched.apply(other)).sum(), x)
    assert ran == []


def test_float64_stays_float64_and_float32_stays_float32():
    for dtype in (np.float32, np.float64):
        x = Tensor(np.ones((2, 3), dtype), requires_grad=True)
        y = ((x * 2 + 1) / 3 - np.float64(0.5)).exp().mean()
        y.backward()
        assert y.dtype == dtype and x.grad.dtype == dtype


def test_deep_graphs_need_no_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(5 * sys.getrecursionlimit()):
        y = y + 0.0
    y.backward()
    assert x.grad.item() == 1.0


# --- graph life -------------------------------------------------------------------------------------------------------


def test_a_consumed_graph_explains_itself():
    y = (leaf(2.0) * 3.0).sum()
    y.backward()
    with pytest.raises(GraphError, match=r"already used by a backward.*retain_graph=True"):
        y.backward()


def test_retain_graph_allows_another_backward():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0


def test_a_consumed_graph_behind_another_input_does_not_disturb():
    x, w = leaf(2.0), leaf(5.0)
    h = x * x
    h.sum().backward()
    (g,) = minicnn.grad((h * w).sum(), w)
    assert g.item() == 4.0
    with pytest.raises(GraphError, match="already used"):
        minicnn.grad((h * w).sum(), x)


def test_a_gradient_that_would_lack_a_path_is_refused():
    """x is reached over h, whose graph is gone, and directly: the part that is left is not the gradient."""
    x = leaf(2.0)
    h = x * x
    h.sum().backward()
    with pytest.raises(GraphError, match="already used"):
        minicnn.grad((h + x * 3.0).sum(), x)


def test_no_grad_records_nothing_and_enable_grad_records_inside():
    x = leaf(1.0)
    with minicnn.no_grad():
        assert not (x * 2.0).requires_grad
        with minicnn.enable_grad():
            assert (x * 2.0).requires_grad

    @minicnn.no_grad()
    def compute():
        return x * 2.0

    assert not compute().requires_grad and minicnn.is_grad_enabled()


def test_modes_end_with_an_error():
    with pytest.raises(ZeroDivisionError), minicnn.no_grad():
        raise ZeroDivisionError
    assert minicnn.is_grad_enabled()


def test_detach_leaves_the_graph_and_shares_the_array():
    x = leaf(1.0, 2.0)
    d = (x * 2.0).detach()
    assert not d.requires_grad and d.is_leaf
    (x * d).sum().backward()
    np.testing.assert_array_equal(x.grad, [2.0, 4.0])


def test_no_reference_cycle_memory_falls_with_the_loss():
    gc.collect()
    gc.disable()
    try:
        x = Tensor(np.ones((4, 4)), requires_grad=True)
        h = ops.softmax(ops.tanh(x @ x), axis=1)
        loss = (h * h).sum()
        node, array = weakref.ref(loss.grad_fn), weakref.ref(h)
        del h, loss
        assert node() is None and array() is None, "a graph that was never used outlives its loss"
        loss = ops.softmax(ops.tanh(x @ x), axis=1).sum()
        node = weakref.ref(loss.grad_fn)
        loss.backward()
        del loss
        assert node() is None
    finally:
        gc.enable()


def test_backward_frees_what_was_saved():
    x = Tensor(np.ones(3), requires_grad=True)
    h = x.exp()
    array = weakref.ref(h.data)
    loss = (h * h).sum()
    del h
    loss.backward()
    assert array() is None, "the saved array is alive although the graph was used"


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_of_two_leaves_do_not_share_memory(create_graph):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).backward(np.ones(2), create_graph=create_graph)
    if not create_graph:
        a.grad.data[...] = 99
        np.testing.assert_array_equal(b.grad, [1.0, 1.0])


def test_the_cotangent_given_is_not_the_gradient_kept():
    cotangent = np.ones(2)
    x = leaf(1.0, 2.0)
    (x + 0.0).backward(cotangent)
    x.grad.data[...] = 7
    np.testing.assert_array_equal(cotangent, [1.0, 1.0])


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_tensor_hooks_see_the_complete_gradient_and_may_replace_it():
    x = leaf(1.0)
    h = x * 3.0
    seen = []
    h.register_hook(lambda g: seen.append(g.item()))
    handle = h.register_hook(lambda g: g * 10.0)
    (h * 2.0 + h * 5.0).sum().backward(retain_graph=True)
    assert seen == [7.0] and x.grad.item() == 210.0
    handle.remove()
    x.grad = None
    (h * 2.0).sum().backward()
    assert x.grad.item() == 6.0


def test_leaf_hooks_run_once_with_the_sum():
    x, seen = leaf(1.0), []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 2.0 + x * 3.0).sum().backward()
    assert seen == [5.0]


def test_retain_grad_keeps_an_inner_gradient():
    x = leaf(2.0)
    h = (x * 3.0).retain_grad()
    (h * h).sum().backward()
    assert h.grad.item() == 12.0


def test_retain_grad_of_a_leaf_changes_nothing():
    x = leaf(2.0)
    assert x.retain_grad() is x and x.hooks is None
    (x * 3.0).sum().backward()
    assert x.grad.item() == 3.0


def test_retain_grad_does_not_keep_its_tensor_alive():
    x = leaf(2.0)
    h = (x * 3.0).retain_grad()
    y, alive = (h + 1.0).sum(), weakref.ref(h)
    del h
    assert alive() is None
    y.backward()
    assert x.grad.item() == 3.0


def test_a_hook_may_not_change_the_shape():
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ShapeError, match="hook"):
        (x * 2.0).sum().backward()


@pytest.mark.parametrize("wrong", [lambda g: g.numpy(), lambda g: 1.0, lambda g: g.to("float32")])
@pytest.mark.parametrize("inner", [False, True])
def test_a_hook_must_return_the_same_kind_of_tensor(wrong, inner):
    x = leaf(1.0, 2.0)
    h = x * 2.0
    (h if inner else x).register_hook(wrong)
    with pytest.raises((GraphError, ShapeError), match="hook"):
        h.sum().backward()
    assert x.grad is None


def test_removing_one_of_two_equal_hooks_leaves_the_other():
    x, seen = leaf(1.0), []

    def hook(g):
        seen.append(1)

    first = x.register_hook(hook)
    x.register_hook(hook)
    first.remove()
    first.remove()
    x.sum().backward()
    assert seen == [1]


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_are_arrays_of_their_own_that_may_be_written(create_graph):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = (a + b).retain_grad()
    h.sum().backward(create_graph=create_graph)
    for g in (a.grad, b.grad, h.grad):
        assert g.data.flags.writeable and g.data.strides == (8,)
    assert not np.shares_memory(a.grad.data, b.grad.data) and not np.shares_memory(a.grad.data, h.grad.data)


def test_a_view_written_to_is_noticed_in_what_it_is_a_view_of():
    h = leaf(1.0, 2.0) * 1.0
    y = h * h
    h.reshape(2, 1).detach()[0] = 7.0
    with pytest.raises(GraphError, match="changed in place"):
        y.sum().backward()


def test_counting_and_narrow_sums_are_exact():
    assert int((Tensor([1.0, 2.0, 3.0]) > 0).sum()) == 3
    assert int(Tensor(np.ones(300, np.uint8)).sum()) == 300
    assert Tensor(np.full(65_536, 0.25, np.float16)).sum().item() == 16_384
    assert Tensor(np.ones(3, ">f4")).mean().dtype == np.dtype(np.float32)
    assert f"{Tensor(1.5):.2f}" == "1.50"


def test_a_hook_where_none_can_be_called_is_refused():
    with pytest.raises(GraphError, match="never be called"):
        Tensor(np.ones(2)).register_hook(print)


# --- anomaly mode -----------------------------------------------------------------------------------------------------


def test_anomaly_mode_names_the_op_and_the_line_of_the_first_nan():
    x = Tensor(np.array([-1.0, 4.0]))
    with np.errstate(invalid="ignore"), minicnn.detect_anomaly(), pytest.raises(AnomalyError) as error:
        ops.sqrt(x).exp()
    assert (
        str(error.value).startswith("sqrt")
        and "test_autograd.py" in str(error.value)
        and "ops.sqrt(x)" in str(error.value)
    )


def test_anomaly_mode_names_the_op_whose_backward_made_it():
    x = leaf(0.0, 4.0)
    with np.errstate(all="ignore"), minicnn.detect_anomaly():
        loss = (ops.sqrt(x) * 0.0).sum()  # the gradient of sqrt at 0 is 0 · ∞
        with pytest.raises(AnomalyError, match=r"backward of sqrt, called at .*test_autograd.py"):
            loss.backward()


# --- in-place ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [lambda w: w.copy_(np.zeros(2)), lambda w: w.detach().__setitem__(0, 9.0)])
def test_a_saved_tensor_changed_in_place_is_noticed(change):
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (x * w).sum()
    change(w)
    with pytest.raises(GraphError, match="changed in place"):
        loss.backward()


def test_a_saved_output_changed_in_place_is_noticed():
    x = leaf(1.0, 2.0)
    y = x.exp()
    y.detach()[0] = 5.0
    with pytest.raises(GraphError, match="exp needs a tensor of shape"):
        y.sum().backward()


def test_an_optimizer_step_between_forward_and_backward_is_noticed():
    w = leaf(1.0, 2.0)
    loss = (w * w).sum()
    w.grad = Tensor(np.ones(2))
    minicnn.optim.SGD([w], lr=0.1).step()
    with pytest.raises(GraphError, match=r"optimizer\.step"):
        loss.backward()


def test_writing_into_a_tensor_that_needs_a_gradient_is_refused():
    with pytest.raises(GraphError, match="would make backward wrong"):
        leaf(1.0)[0] = 2.0


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "error", "words"),
    [
        (lambda: leaf(1.0, 2.0).backward(), ShapeError, r"shape \(2,\) needs `gradient`"),
        (lambda: Tensor(np.ones(1)).backward(), GraphError, "requires_grad=True"),
        (lambda: (leaf(1.0, 2.0) * 1.0).backward(np.ones(3)), ShapeError, r"\(3,\)"),
        (lambda: minicnn.grad(leaf(1.0).sum(), leaf(2.0)), GraphError, "do not depend on input 0"),
        (lambda: minicnn.grad(leaf(1.0).sum(), Tensor(np.ones(1))), GraphError, "does not require a gradient"),
        (lambda: minicnn.grad([leaf(1.0)] * 2, leaf(1.0), [None]), ShapeError, "2 outputs and 1 grad_outputs"),
        (lambda: minicnn.grad(leaf(1.0), [np.ones(1)]), DTypeError, "grad takes Tensors, got a ndarray"),
        (lambda: minicnn.grad(1.0, leaf(1.0)), DTypeError, "grad takes Tensors, got a float"),
        (lambda: Tensor(np.ones(2, int), requires_grad=True), DTypeError, "floating-point"),
        (lambda: Tensor(np.array(["a"])), DTypeError, "holds numbers"),
        (lambda: Tensor([1.0], dtype="floaty"), DTypeError, "'floaty' is no dtype, such as 'float32'"),
        (lambda: Tensor([1.0], dtype="f4,,"), DTypeError, "no dtype"),
        (lambda: Tensor([1.0], dtype=np.ones((2, 2))), DTypeError, r"array\(\[\[1., 1.\], \[1., 1.\]\]\) is no dtype"),
        (lambda: Tensor([1.0, 2.0]).item(), ShapeError, "one element"),
        (lambda: bool(Tensor([1.0, 2.0])), ShapeError, "neither true nor false"),
        (lambda: len(Tensor(1.0)), ShapeError, "no length"),
        (lambda: leaf(1.0) + leaf(1.0).to("float32"), DTypeError, "different precision"),
        (lambda: Tensor([1, 2]).exp(), DTypeError, "floating-point"),
        (lambda: leaf(1.0) * "x", DTypeError, "str"),
        (lambda: minicnn.use("tpu"), DeviceError, "tpu"),
        (lambda: minicnn.use("cuda"), DeviceError, "cuda"),
        (lambda: leaf(1.0).to("cuda"), DeviceError, "cuda"),
    ],
)
def test_bad_input_gets_one_sentence(action, error, words):
    with pytest.raises(error, match=words) as caught:
        action()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda gy: (gy, gy.numpy()), "backward of users must return Tensors or None, not a ndarray"),
        (lambda gy: gy, "returned 1 gradients for 2 inputs: return one for each, None where there is none"),
        (lambda gy: [gy, gy, None], "returned 3 gradients for 2 inputs"),
    ],
)
def test_what_a_users_backward_returns_is_looked_at(returned, words):
    class Users(Function):
        def forward(self, a, b):
            return a + b

        def backward(self, gy):
            return returned(gy)

    with pytest.raises(GraphError, match=words):
        Users.apply(leaf(1.0), leaf(2.0)).backward()


def test_a_function_without_forward_or_backward_says_so():
    class Nothing(Function):
        pass

    class ForwardOnly(Function):
        def forward(self, x):
            return x + 1.0

    with pytest.raises(NotImplementedError, match="Nothing does not define forward"):
        Nothing.apply(leaf(1.0))
    with pytest.raises(NotImplementedError, match="ForwardOnly does not define backward"):
        ForwardOnly.apply(leaf(1.0)).backward()


def test_one_array_returned_for_two_inputs_becomes_two_gradients():
    class Twice(Function):
        def forward(self, a, b):
            return (a + b) * 2.0

        def backward(self, gy):
            g = gy * 2.0
            return g, g

    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    Twice.apply(a, b).sum().backward()
    a.grad.data[...] = 7.0
    np.testing.assert_array_equal(b.grad, [2.0, 2.0])


def test_a_wrong_backward_of_a_users_function_is_explained():
    class Wrong(Function):
        def forward(self, a, b):
            return a + b

        def backward(self, gy):
            return gy, gy

    a, b = Tensor(np.ones((2, 3)), requires_grad=True), Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(GraphError, match=r"shape \(2, 3\), float64 for input 1 of shape \(3,\)"):
        Wrong.apply(a, b).sum().backward()


# --- devices ----------------------------------------------------------------------------------------------------------


def test_use_is_a_switch_and_a_block():
    assert Tensor([1.0]).device == "cpu"
    with minicnn.use("reference"):
        inside = Tensor([1.0])
        with minicnn.use("cpu"):
            assert Tensor([1.0]).device == "cpu"
        assert Tensor([1.0]).device == "reference"
    assert Tensor([1.0]).device == "cpu" and inside.device == "reference"
    try:
        minicnn.use("reference")
        assert Tensor([1.0]).device == "reference"
    finally:
        minicnn.use("cpu")


def test_use_inside_of_a_block_ends_with_it_and_decorates_functions():
    with minicnn.use("reference"):
        minicnn.use("cpu")
        assert Tensor([1.0]).device == "cpu"
    assert Tensor([1.0]).device == "cpu"

    @minicnn.use("reference")
    def made():
        return Tensor([1.0]).device

    assert Tensor([1.0]).device == "cpu" and made() == "reference" and made() == "reference"
    assert Tensor([1.0]).device == "cpu"


def test_an_op_runs_on_the_device_of_its_inputs(monkeypatch):
    from minicnn.kernels import cpu, reference

    ran = []
    original = reference.tanh
    monkeypatch.setattr(reference, "tanh", lambda x: ran.append("reference") or original(x))
    monkeypatch.setattr(cpu, "tanh", lambda x: ran.append("cpu") or original(x))
    x = Tensor([1.0])
    y = ops.tanh(x.to("reference"))
    ops.tanh(x)
    with minicnn.use("reference"):
        ops.tanh(x)  # made outside: still readable inside
    ops.tanh(x + y)  # one memory: they may meet, and then it is the readable one
    assert ran == ["reference", "cpu", "reference", "reference"] and y.device == "reference"


def test_backward_runs_where_forward_ran(monkeypatch):
    from minicnn.kernels import cpu

    x = Tensor(np.ones(3), requires_grad=True)
    with minicnn.use("reference"):
        y = (x * x).sum()
    monkeypatch.setattr(cpu, "mul", lambda a, b: pytest.fail("the cpu kernel ran"))
    y.backward()
    assert x.grad.device == "reference"


# --- being an array ---------------------------------------------------------------------------------------------------


def test_a_tensor_is_an_array_first():
    array = np.arange(6.0).reshape(2, 3)
    t = Tensor(array, requires_grad=True) * 1.0
    assert t.shape == (2, 3) and t.size == 6 and t.ndim == 2 and len(t) == 2
    np.testing.assert_array_equal(np.asarray(t), array)
    np.testing.assert_array_equal(t.numpy(), array)
    np.testing.assert_array_equal(t.T, array.T)
    np.testing.assert_array_equal(t.sum(axis=0, keepdims=True), array.sum(0, keepdims=True))
    np.testing.assert_array_equal([row.numpy() for row in t], array)
    np.testing.assert_array_equal(array + t, array * 2)
    np.testing.assert_array_equal(t[:, 1], array[:, 1])
    assert (t > 2).dtype == bool and (t == t).numpy().all()
    assert float(t[1, 2]) == 5.0 and Tensor([1.5]).dtype == np.float32 and Tensor([1]).dtype == np.int64
    assert "float64" in repr(t) and {t: 1}[t] == 1
