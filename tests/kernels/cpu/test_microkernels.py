"""cpu/microkernels.py: each micro-kernel for each kind of CPU, and not one byte outside of what it may touch."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from minicnn.kernels.cpu import microkernels

ROOT = Path(__file__).resolve().parents[3]
MACHINES = {name: getattr(microkernels, name) for name in ("AVX512", "AVX2", "SSE", "NEON")}
BOTH = pytest.mark.parametrize("dtype", ["float32", "float64"])
SENTINEL = 12345.0


@pytest.fixture(params=MACHINES.values(), ids=MACHINES)
def machine(request, monkeypatch):
    """Every tile runs here: LLVM splits vectors that are wider than the registers."""
    microkernels.address.cache_clear()
    monkeypatch.setattr(microkernels, "machine", lambda: request.param)
    yield request.param
    microkernels.address.cache_clear()


def call(address, *args):
    numbers = [arg.ctypes.data if isinstance(arg, np.ndarray) else int(arg) for arg in args]
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(numbers))(int(address))(*numbers)


def before_a_wall(values):
    """A copy of the array that ends where the next page of memory may not be touched."""
    page = mmap.PAGESIZE
    pages = -(-max(values.nbytes, 1) // page)
    memory = mmap.mmap(-1, (pages + 1) * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None).mprotect
    assert protect(ctypes.c_void_p(start + pages * page), ctypes.c_size_t(page), 0) == 0
    array = np.frombuffer(memory, values.dtype, values.size, pages * page - values.nbytes).reshape(values.shape)
    array[...] = values
    return array


def random(dtype, *shape):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@BOTH
@pytest.mark.parametrize("depth", [0, 1, 5])
@pytest.mark.parametrize("accumulate", [0, 1])
def test_fma_tile(machine, dtype, depth, accumulate):
    rows, lanes = machine.tile_rows, machine.lanes(dtype)
    for vectors in range(1, machine.tile_vectors + 1):
        address = microkernels.address(dtype, microkernels.fma_tile, rows=rows, vectors=vectors)
        width = vectors * lanes
        a = before_a_wall(random(dtype, depth, rows))
        b = before_a_wall(random(dtype, 7, width))
        picked = np.array([6, 0, 3, 3, 5][:depth], np.int64)
        offsets = before_a_wall(picked * b.strides[0])
        c = np.full((rows, width + 3), SENTINEL, dtype)  # the last 3 of each row must stay
        if accumulate:
            c[:, :width] = 2
        c = before_a_wall(c)
        call(address, depth, a, offsets, b, c, c.strides[0], accumulate)
        expected = a.T.astype(np.float64) @ b[picked].astype(np.float64) + 2 * accumulate
        np.testing.assert_allclose(c[:, :width], expected, rtol=1e-5, atol=1e-5)
        assert (c[:, width:] == SENTINEL).all()


@BOTH
@pytest.mark.parametrize("count", [0, 1, 3])
def test_dot_tile(machine, dtype, count):
    lanes = machine.lanes(dtype)
    for rows, columns in machine.dot_shapes():
        a, b = before_a_wall(random(dtype, rows, count * lanes)), before_a_wall(random(dtype, 2, count * lanes))
        picked = np.arange(columns) % 2
        offsets = before_a_wall((picked * b.strides[0]).astype(np.int64))
        c = np.full((rows, columns + 2), SENTINEL, dtype)
        c[:, :columns] = 3
        c = before_a_wall(c)
        address = microkernels.address(dtype, microkernels.dot_tile, rows=rows, columns=columns)
        call(address, count, a, a.strides[0], b, offsets, c, c.strides[0])
        expected = 3 + a.astype(np.float64) @ b[picked].astype(np.float64).T
        np.testing.assert_allclose(c[:, :columns], expected, rtol=1e-5, atol=1e-5)
        assert (c[:, columns:] == SENTINEL).all()


@BOTH
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_move_rows(machine, dtype, rows):
    address, size = microkernels.address(dtype, microkernels.move_rows), np.dtype(dtype).itemsize
    addend = np.array([1.5], dtype)
    for width in range(2 * machine.lanes(dtype) + 2):
        source = before_a_wall(random(dtype, max(rows, 1) * (width + 2))[2:])
        target = before_a_wall(np.full(max(rows, 1) * (width + 1), SENTINEL, dtype)[1:])
        call(address, rows, source, (width + 2) * size, target, (width + 1) * size, width, addend)
        for row in range(rows):
            got = target[row * (width + 1) : row * (width + 1) + width]
            np.testing.assert_array_equal(got, source[row * (width + 2) : row * (width + 2) + width] + addend)
        assert (target == SENTINEL).sum() == target.size - rows * width


@BOTH
def test_moving_from_one_row_fills(dtype):
    """A step of 0 repeats the source: that is how padding is written."""
    target = np.full((3, 5), SENTINEL, dtype)
    zeros = np.zeros(2, dtype)
    call(microkernels.address(dtype, microkernels.move_rows), 3, zeros, 0, target, target.strides[0], 2, zeros)
    np.testing.assert_array_equal(target, [[0, 0, *[SENTINEL] * 3]] * 3)


@BOTH
@pytest.mark.parametrize("relu", [False, True])
def test_max_2x2(machine, dtype, relu):
    """Narrow planes, odd widths, ties and NaN; the last row of the last plane ends at the wall."""
    address, rng = microkernels.address(dtype, microkernels.max_2x2, relu=relu), np.random.default_rng(0)
    bias, start = before_a_wall(np.full(1, 0.5, dtype)), 10
    for rows, cols, odd in [(r, c, o) for r in (1, 3) for c in (1, 2, 3, 7, 8, 20, 33) for o in (0, 1)]:
        step = 2 * cols + odd
        width = step - 1  # of the plane that places are counted in; x is a piece of it
        x = rng.integers(-2, 3, (2 * rows, step)).astype(dtype)
        x[rng.random(x.shape) < 0.2] = np.nan
        x[rng.random(x.shape) < 0.2] = -np.inf
        x = before_a_wall(x.reshape(-1)[: x.size - odd])  # what lies behind the last window is not read
        y, indices = before_a_wall(np.zeros((rows, cols), dtype)), before_a_wall(np.zeros((rows, cols), np.int32))
        call(address, rows, cols, x, step * x.itemsize, width, start, y, indices, bias)
        for p, q in np.ndindex(rows, cols):
            places = [(h, w) for h in (2 * p, 2 * p + 1) for w in (2 * q, 2 * q + 1)]
            values = [x[h * step + w] for h, w in places]
            nans = [place for place, value in zip(places, values, strict=True) if np.isnan(value)]
            h, w = nans[0] if nans else places[values.index(max(values))]  # the first
            expected = x[h * step + w] + bias[0]
            off = relu and not expected > 0
            assert indices[p, q] == (-1 if off else start + h * width + w)
            np.testing.assert_array_equal(y[p, q], 0 if off and not np.isnan(expected) else expected)


@BOTH
def test_unpool_2x2(machine, dtype):
    """What max_2x2 took apart goes back to its places; around them nothing is written, between them zeros."""
    address, rng = microkernels.address(dtype, microkernels.unpool_2x2), np.random.default_rng(0)
    for rows, cols, odd in [(r, c, o) for r in (1, 3) for c in (1, 2, 3, 7, 8, 20, 33) for o in (0, 1)]:
        width, start = 2 * cols + odd, 6
        gy = before_a_wall(random(dtype, rows, cols))
        h, w = (rng.integers(0, 2, (rows, cols)) + 2 * np.arange(n).reshape(shape)
                for n, shape in ((rows, (-1, 1)), (cols, (1, -1))))  # fmt: skip
        indices = start + h * width + w
        indices[rng.random(indices.shape) < 0.3] = -1
        gx = np.full((2 * rows, 2 * cols + 3), SENTINEL, dtype)
        gx = before_a_wall(gx.reshape(-1)[: gx.size - 3])
        call(address, rows, cols, gy, before_a_wall(indices.astype(np.int32)), width, start, gx,
             (2 * cols + 3) * gx.itemsize)  # fmt: skip
        expected = np.full((2 * rows, 2 * cols + 3), SENTINEL, dtype)
        expected[:, : 2 * cols] = 0
        expected[h[indices >= 0], w[indices >= 0]] = gy[indices >= 0]
        np.testing.assert_array_equal(gx, expected.reshape(-1)[: gx.size])


# --- the CPUs we do not have ------------------------------------------------------------------------------------------

FORCED = """
import ctypes, sys
import numpy as np
from minicnn.kernels.cpu import microkernels
machine, name = microkernels.machine(), "float32"
lanes, rows = machine.lanes(name), machine.tile_rows
address = microkernels.address(name, microkernels.fma_tile, rows=rows, vectors=machine.tile_vectors)
a, b = np.arange(3 * rows, dtype=name).reshape(3, rows), np.arange(3 * 64, dtype=name).reshape(3, 64)
offsets, c = np.arange(3) * 256, np.zeros((rows, 64), name)
call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 7)(address)
call(3, a.ctypes.data, offsets.ctypes.data, b.ctypes.data, c.ctypes.data, 256, 0)
width = machine.tile_vectors * lanes
assert (c[:, :width] == (a.T @ b)[:, :width]).all() and (c[:, width:] == 0).all()
print(machine.bits, rows, machine.tile_vectors)
"""


@pytest.mark.parametrize(("cpu", "expected"), [("haswell", "256 6 2"), ("nehalem", "128 4 2"), ("x86-64", "128 4 2")])
def test_forced_cpu(cpu, expected):
    """NUMBA_CPU_NAME decides, and what is compiled for it runs here (this CPU has all that those have)."""
    if "x86_64" not in llvm.get_process_triple():
        pytest.skip("names of x86 CPUs")
    env = {**os.environ, "NUMBA_CPU_NAME": cpu}
    command = [sys.executable, "-c", FORCED]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == expected, done.stderr


@BOTH
@pytest.mark.parametrize(("cpu", "name"), [("nehalem", "SSE"), ("haswell", "AVX2"), ("skylake-avx512", "AVX512")])
def test_tiles_need_no_calls_and_no_stack(cpu, name, dtype, monkeypatch):
    """No call of a library where the CPU has no fused multiply-add, and no accumulator kept in memory."""
    if "x86_64" not in llvm.get_process_triple():
        pytest.skip("assembly of x86")
    machine = MACHINES[name]
    monkeypatch.setattr(microkernels, "machine", lambda: machine)
    monkeypatch.setenv("NUMBA_CPU_NAME", cpu)
    kernels = [(microkernels.fma_tile, {"rows": machine.tile_rows, "vectors": machine.tile_vectors})]
    kernels += [(microkernels.dot_tile, {"rows": rows, "columns": columns}) for rows, columns in machine.dot_shapes()]
    for kernel, shape in kernels:
        assembly = microkernels._target_machine().emit_assembly(microkernels._module(dtype, kernel, shape))
        assert "mul" in assembly or "fma" in assembly
        assert "call" not in assembly, shape
        assert not re.findall(r"mov\w+\s+%[xyz]mm\d+, .*\(%rsp\)", assembly), shape
