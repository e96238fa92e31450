"""Every kind of fault, planted, and the report that it must get: what, and in which line."""

import os
import re
import signal
import threading

import numpy as np
import pytest

from examples import cuda_on_a_laptop
from minicnn import simulator
from minicnn.simulator import KernelError, RawModule

from . import planted
from .planting import BROKEN, SITES, launch, line_of

# ---- a kernel that is right, broken in one place

MUTANTS = [  # kernel, what is replaced by what, the report, the line
    ("axpby", "i < n;", "i <= n;",
     "out of bounds: reads element 100 of x", "y[i] = a * x[i]"),
    ("axpby", "i < n;", "i < n - 1;",  # a missing tail: no report, but the result is wrong
     "", ""),
    ("box3", "h + dh >= 0 && h + dh < height && ", "",
     "out of bounds: reads element -[1-8] of x", "sum += x[i + dh"),
    ("box3", "if (i >= images", "if (i > images",
     "out of bounds", ""),
    ("row_sum", "partial[8]", "partial[3]",
     "out of bounds", "partial[warp] = sum"),
    ("row_sum", "    __syncthreads();\n", "",
     "uninitialised: reads element 1 of shared memory partial", "total += partial[i]"),
    ("row_sum", "blockDim.x / 32; i++", "blockDim.x / 32 + 1; i++",
     "uninitialised: reads element 4", "total += partial[i]"),
    ("row_sum", "if (threadIdx.x == 0) {", "if (lane == 0) {",
     r"race: writes element 0 of y \(argument 0\)", "y[blockIdx.x] ="),
    ("row_sum", "__shfl_down_sync(ALL", "__shfl_down_sync(0xffffu",
     "a lane that its mask does not name|bad mask", "sum +="),
    ("softmax", "largest = fmaxf(largest, room[i]);\n    __syncthreads();", "largest = fmaxf(largest, room[i]);",
     "race: (writes|reads) element [0-9]+ of shared memory room", "room[t] = sum"),
    ("softmax", "extern __shared__ float room[];", "__shared__ float room[32];",
     "out of bounds", "room[t] = largest"),
    ("softmax", "y += blockIdx.x * n;", "y += 0;",
     "race: writes element 0 of y .* thread .* of block", "y[i] ="),
    ("matmul", "sum += left[ty][i] * right[i][tx];\n        __syncthreads();", "sum += left[ty][i] * right[i][tx];",
     "race: (writes|reads) element [0-9]+ of shared memory (left|right)", "left["),
    ("matmul", "if (row < rows && column < columns) ", "",
     "out of bounds|race: writes", "c[row * columns + column] = sum"),
    ("matmul", "left[TILE][TILE + 1]", "left[TILE - 1][TILE + 1]",
     "out of bounds", "left["),
    ("histogram", "atomicAdd(&counts[values[i]], 1)", "counts[values[i]] += 1",
     "race: (reads|writes) element .* of counts", "+= 1"),
]  # fmt: skip


@pytest.mark.parametrize("kernel, old, new, message, line", MUTANTS, ids=lambda value: str(value)[:24].strip())
def test_a_broken_kernel_is_reported(kernel, old, new, message, line):
    run = getattr(planted, kernel)
    broken = planted.module(kernel, old, new)
    if not message:
        result, expected = run(broken)
        assert not np.allclose(result, expected)
        return
    with pytest.raises(KernelError, match=message) as error:
        run(broken)
    assert line in str(error.value)


# ---- kernels that show one fault each


@pytest.fixture(scope="module")
def broken():
    return RawModule(code=BROKEN)


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.kernel)
def test_every_detector(site, broken):
    """In every order of threads, and with the line that is marked in the source."""
    for order in ("forward", "reverse", "random:5"):
        with simulator.using(order=order), pytest.raises(KernelError, match=site.message) as error:
            launch(broken, site)
        message = str(error.value)
        assert message.startswith(f"{site.kernel}: ")
        assert re.search(r"in thread \(\d+,\d+,\d+\) of block \(\d+,\d+,\d+\)", message) or "deadlock" in message
        if site.marked:
            lines = re.findall(r'File "kernel.cu", line (\d+)', message)
            assert str(line_of(site.kernel)) in lines, message


FAST_TOO = [
    ("early_return", "divergent barrier"),
    ("two_barriers", "divergent barrier"),
    ("shuffle_in_a_branch", "deadlock|returned|divergent"),
    ("mask_without_me", "bad mask"),
    ("too_much_shared", "48 KB"),
    ("crashes", "crash: the kernel used address"),
    ("divides_by_zero", "division by zero"),
    ("overflows_the_stack", "stack overflow"),
]


@pytest.mark.parametrize("kernel, message", FAST_TOO)
def test_what_the_fast_build_finds(kernel, message, broken):
    site = next(site for site in SITES if site.kernel == kernel)
    with simulator.using("fast"), pytest.raises(KernelError, match=message):
        launch(broken, site)


@pytest.mark.parametrize(
    "kernel, old, new",
    [
        ("row_sum", "    __syncthreads();\n", ""),
        ("softmax", "largest = fmaxf(largest, room[i]);\n    __syncthreads();", "largest = fmaxf(largest, room[i]);"),
        (
            "matmul",
            "sum += left[ty][i] * right[i][tx];\n        __syncthreads();",
            "sum += left[ty][i] * right[i][tx];",
        ),
    ],
)
def test_in_the_fast_build_some_order_shows_a_missing_barrier(kernel, old, new):
    """Nothing watches there; but shared memory begins as NaN, and threads may be run in an order that hurts."""
    run, right, wrong = getattr(planted, kernel), planted.module(kernel), planted.module(kernel, old, new)
    seen = []
    for order in ("forward", "reverse", "random:1"):
        with simulator.using("fast", order):
            assert np.allclose(*run(right), rtol=1e-4, atol=1e-5)
            seen.append(not np.allclose(*run(wrong), rtol=1e-4, atol=1e-5))
    assert any(seen)


def test_neighbours_in_one_allocation():
    """Past the end of one array is the beginning of the next: who knows allocations only sees nothing."""
    pool = planted.numbers(200)
    y, x = pool[100:], pool[:100]
    with pytest.raises(KernelError, match=r"race|read-only|out of bounds"):
        kernels = planted.module("axpby", "i < n;", "i <= n;")
        kernels.get_function("axpby")((3,), (16,), (x, y, planted.F(2), planted.F(0.5), planted.INT(100)))


def test_an_aliased_array_is_one_array():
    """The same memory as input and output: right if each thread reads what it writes itself."""
    code = 'extern "C" __global__ void k(float* y, const float* x, int d) { y[threadIdx.x] = x[threadIdx.x + d]; }'
    kernel = RawModule(code=code).get_function("k")
    x = planted.numbers(64)
    kernel((1,), (32,), (x[:32], x, planted.INT(0)))
    with pytest.raises(KernelError, match="race"):
        kernel((1,), (32,), (x[:32], x, planted.INT(1)))


def test_the_next_launch_after_a_failure_is_clean(broken):
    for _ in range(3):
        with pytest.raises(KernelError):
            launch(broken, SITES[0])
        result, expected = planted.row_sum(planted.module("row_sum"))
        np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("build", ["fast", "check"])
def test_ctrl_c_ends_a_kernel_that_never_ends(build):
    kernel = RawModule(
        code=r"""
        extern "C" __global__ void forever(volatile int* flag) { while (!*flag) {} }
    """
    ).get_function("forever")
    flag = np.zeros(1, np.int32)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    with simulator.using(build):
        kernel.compile()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            kernel((1,), (1,), (flag,))
    timer.join()


def test_the_example_finds_its_race(capsys):
    cuda_on_a_laptop.main()
    shown = capsys.readouterr().out
    assert "race: writes element 1 of shared memory s, which thread (0,0,0) of block (0,0,0) read" in shown
    assert "out of bounds: reads element 5000 of x" in shown
    assert "wrong" in shown
