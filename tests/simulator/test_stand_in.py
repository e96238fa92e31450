"""The stand-in for CuPy: it computes as NumPy does, and refuses what CuPy refuses."""

import numpy as np
import pytest

from minicnn.errors import ArgumentError
from minicnn.simulator import cupy as xp
from minicnn.simulator import cupyx, settings
from minicnn.simulator.errors import CompileError, KernelError

CODE = r"""
extern "C" __global__ void scale(float* y, const float* x, float factor, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = factor * x[i];
}
extern "C" __global__ void add_to(float* y, const float* x, int n) {
    int i = threadIdx.x;
    if (i < n) y[i] += x[i];
}
extern "C" __global__ void with_dynamic(float* y) {
    extern __shared__ float s[];
    s[threadIdx.x] = 1;
    y[threadIdx.x] = s[threadIdx.x];
}
"""
MODULE = xp.RawModule(code=CODE)


def scale(y, x, factor=2.0):
    MODULE.get_function("scale")((-(-x.size // 32),), (32,), (y, x, np.float32(factor), np.int32(x.size)))


def numbers(n=32):
    return xp.asarray(np.arange(n, dtype=np.float32))


@pytest.fixture
def stream():
    """A stream besides the null stream: its work happens as late as it may."""
    return xp.cuda.Stream(non_blocking=True)


def implicit_conversion():
    np.asarray(numbers())


def meets_numpy():
    numbers() + np.ones(32, np.float32)


def numpy_to_kernel():
    scale(xp.empty(32, np.float32), np.ones(32, np.float32))


def python_float_to_kernel():
    MODULE.get_function("scale")((1,), (32,), (numbers(), numbers(), 2.0, np.int32(32)))


def wrong_dtype():
    scale(xp.empty(32), numbers())


def strided_view():
    scale(xp.empty(32, np.float32), numbers(64)[::2])


def too_much_shared_memory():
    MODULE.get_function("with_dynamic")((1,), (32,), (numbers(),), shared_mem=64 << 10)


def unknown_kernel():
    MODULE.get_function("scales")


def missing_argument():
    MODULE.get_function("scale")((1,), (32,), (numbers(), numbers(), np.float32(2)))


def unknown_name():
    return xp.cudnn


def does_not_compile():
    xp.RawModule(code='extern "C" __global__ void k(float* y) { y[0] = z; }').get_function("k")


@pytest.mark.parametrize(
    "mistake, error, message",
    [
        (implicit_conversion, TypeError, "Implicit conversion"),
        (meets_numpy, TypeError, "Unsupported type"),
        (numpy_to_kernel, TypeError, "numpy.ndarray"),
        (python_float_to_kernel, KernelError, r"argument 2 \(factor\) is float32, and float64 is given"),
        (wrong_dtype, KernelError, r"argument 0 \(y\) points to float32, and a float64 array is given"),
        (strided_view, ValueError, "ascontiguousarray"),
        (too_much_shared_memory, RuntimeError, "max_dynamic_shared_size_bytes"),
        (unknown_kernel, RuntimeError, "not found: scales .*scale, add_to"),
        (missing_argument, KernelError, "4 parameters, and 3 arguments"),
        (unknown_name, AttributeError, "cudnn"),
        (does_not_compile, CompileError, "'z' was not declared"),
    ],
)
def test_refuses(mistake, error, message):
    with pytest.raises(error, match=message):
        mistake()


def test_computes_as_numpy_does():
    host = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    x = xp.asarray(host)
    index = np.argsort(host, 1)
    pairs = [
        (x + 1, host + 1),
        (2.0 - x, 2.0 - host),
        (xp.where(x > 0, x, 0.0), np.where(host > 0, host, np.float32(0))),
        (x.sum(axis=(0, 2), keepdims=True), host.sum((0, 2), keepdims=True)),
        (xp.take_along_axis(x, xp.asarray(index), axis=1), np.sort(host, 1)),
        (
            xp.pad(x, ((0, 0), (1, 2), (0, 0)), constant_values=3.0),
            np.pad(host, ((0, 0), (1, 2), (0, 0)), constant_values=3),
        ),
        (xp.concatenate([x, x], axis=2), np.concatenate([host, host], 2)),
        (x[:, ::2, None], host[:, ::2, None]),
        (x[xp.asarray(np.array([2, 0]))], host[[2, 0]]),
        (x.transpose(2, 0, 1).reshape(5, -1), host.transpose(2, 0, 1).reshape(5, -1)),
        (np.add(x, x), host + host),
        (np.concatenate([x, x]), np.concatenate([host, host])),
    ]
    for ours, numpys in pairs:
        assert ours.dtype == numpys.dtype
        np.testing.assert_array_equal(ours.get(), numpys)


def test_empty_holds_garbage():
    assert np.isnan(xp.empty(64, np.float32).get()).all()


def test_an_assignment_through_a_view():
    x = xp.zeros((4, 4), np.float32)
    x[1:3, ::2] = 5.0
    x.T[0] += 1.0
    expected = np.zeros((4, 4), np.float32)
    expected[1:3, ::2] = 5
    expected.T[0] += 1
    np.testing.assert_array_equal(x.get(), expected)


# ---- streams


@pytest.mark.parametrize("waits", [False, True])
def test_a_missing_event_gives_a_wrong_answer(waits, stream):
    """On a GPU wrong now and then, here always."""
    other, x = xp.cuda.Stream(non_blocking=True), numbers()
    y, z = xp.empty(32, np.float32), xp.empty(32, np.float32)
    xp.cuda.Device().synchronize()
    with stream:
        scale(y, x)
        event = stream.record()
    with other:
        if waits:
            other.wait_event(event)
        scale(z, y)
    other.synchronize()
    assert np.array_equal(z._np, 4 * np.arange(32)) == waits


@pytest.mark.parametrize("synchronizes", [False, True])
def test_a_pinned_buffer_is_read_when_the_copy_runs(synchronizes, stream):
    host, x = cupyx.zeros_pinned(8, np.float32), xp.empty(8, np.float32)
    xp.cuda.Device().synchronize()
    host[:] = 1
    x.set(host, stream=stream)
    if synchronizes:
        stream.synchronize()
    host[:] = 2
    stream.synchronize()
    assert (x._np == 1).all() == synchronizes


def test_memory_freed_while_a_stream_needs_it(stream):
    x, y = numbers(), xp.empty(32, np.float32)
    xp.cuda.Device().synchronize()
    with stream:
        scale(y, x)
    del x
    zeros = xp.zeros(32, np.float32)  # x's memory
    xp.cuda.Stream.null.synchronize()
    stream.synchronize()
    assert not np.array_equal(y._np, 2 * np.arange(32))
    assert zeros.size


def test_a_late_error_says_where_the_work_came_from(stream):
    with stream:
        MODULE.get_function("with_dynamic")((1,), (32,), (xp.empty(32, np.float32),))
        with pytest.raises(KernelError, match="no dynamic shared memory") as error:
            stream.synchronize()
    assert "test_stand_in.py" in error.value.__notes__[0]


# ---- graphs


def test_a_graph_repeats_what_was_captured(stream):
    x, y = numbers(), numbers()
    xp.cuda.Device().synchronize()
    with stream:
        stream.begin_capture(xp.cuda.runtime.streamCaptureModeRelaxed)
        MODULE.get_function("add_to")((1,), (32,), (y, x, np.int32(32)))
        y *= 2.0
        graph = stream.end_capture()
        for _ in range(3):
            graph.launch()
        stream.synchronize()
    expected = np.arange(32, dtype=np.float32)
    for _ in range(3):
        expected = 2 * (expected + np.arange(32))
    np.testing.assert_array_equal(y.get(), expected)


@pytest.mark.parametrize(
    "work, error, message",
    [
        (lambda x: float(x.sum()), RuntimeError, "StreamCaptureUnsupported"),
        (lambda x: x[x > 0], RuntimeError, "bool array"),
        (lambda x: x.reshape(4, 8) @ x.reshape(8, 4), NotImplementedError, "cuBLAS"),
        (lambda x: xp.asarray(np.ones(3)), RuntimeError, "ordinary host memory"),
        (lambda x: xp.cuda.Device().synchronize(), RuntimeError, "StreamCaptureUnsupported"),
    ],
)
def test_what_a_capture_refuses(work, error, message, stream):
    x = numbers()
    xp.cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        with pytest.raises(error, match=message):
            work(x)
        stream._captured = None


def test_a_graph_on_freed_memory(stream):
    x = numbers()
    with stream:
        stream.begin_capture()
        between, y = xp.empty(32, np.float32), xp.empty(32, np.float32)
        scale(between, x)
        scale(y, between)
        graph = stream.end_capture()
        graph.launch()
        del between
        with pytest.raises(RuntimeError, match="freed after its capture"):
            graph.launch()
        stream.synchronize()


def test_a_graph_may_use_memory_again_that_its_step_has_dropped(stream):
    """As long as nobody else gets it: the second result lies where the first was."""
    x, pool = numbers(), xp.cuda.MemoryPool()
    y = xp.empty(32, np.float32)
    with xp.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        for _ in range(2):
            between = xp.empty(32, np.float32)
            place = between.data.ptr
            scale(between, x)
            scale(y, between)
            del between
        graph = stream.end_capture()
        for _ in range(2):
            graph.launch()
        np.testing.assert_array_equal(xp.asnumpy(y), 4 * xp.asnumpy(x))
        other = xp.empty(32, np.float32)
        assert other.data.ptr == place
        with pytest.raises(RuntimeError, match="freed after its capture"):
            graph.launch()


# ---- the check build


def test_reading_what_nothing_has_written():
    with settings.using("check"):
        y = xp.empty((4, 8), np.float32)
        scale(y, numbers()[:31])
        with pytest.raises(KernelError, match=r"reads 1 elements of a \(4, 8\).*\(3, 7\)"):
            (y + 1).get()
        with pytest.raises(KernelError, match=r"uninitialised: reads element 31 of x"):
            scale(xp.empty(32, np.float32), y)
        y[3, 7] = 0.0
        assert float((y + 1).sum()) == 2 * sum(range(31)) + 32
        z = xp.empty((2, 3), np.float32)
        z[None, ..., 1] = 5.0  # column 1, not byte 1 of everything
        assert float(z[:, 1].sum()) == 10
        with pytest.raises(KernelError, match=r"reads 2 elements"):
            z[:, 0].sum()


# ---- memory


def test_the_pool_has_a_limit():
    pool = xp.cuda.MemoryPool()
    pool.set_limit(4096)
    with xp.cuda.using_allocator(pool.malloc):
        kept = xp.zeros(512, np.float32)
        with pytest.raises(xp.cuda.memory.OutOfMemoryError, match="Out of memory allocating 4,096 bytes"):
            xp.zeros(1024, np.float32)
    assert pool.used_bytes() == 2048 == kept.nbytes


def test_a_write_past_the_end_shows_when_nobody_watches():
    with settings.using("fast"):
        scale(xp.empty(32, np.float32), numbers())
        with pytest.raises(KernelError, match=r"out of bounds: .* past the end of y \(argument 0\)(.|\n)*check shows"):
            scale(xp.empty(31, np.float32), numbers())
        back = xp.RawKernel('extern "C" __global__ void back(float* y) { y[-1] = 1; }', "back")
        with pytest.raises(KernelError, match=r"in front of y"):
            back((1,), (1,), (numbers(),))
        scale(xp.empty(32, np.float32), numbers())


def test_settings_are_checked():
    with pytest.raises(ArgumentError, match="no build"):
        settings.configure(build="slow")
    with pytest.raises(ArgumentError, match="random:SEED"):
        settings.configure(order="random:x")
