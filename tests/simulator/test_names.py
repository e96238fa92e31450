"""What the GPU's code takes from its array library exists in CuPy, and the stand-in invents nothing.

The record of CuPy's names is beside this file (cupy_names.py). Where CuPy is installed it is compared with the real
thing, and so are the stand-in's signatures and the layout of its views; no GPU is needed for that.
"""

import ast
import inspect
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minicnn
from minicnn.simulator import cupy as stand_in

from .cupy_names import names_of, recorded

PACKAGE = Path(minicnn.__file__).parent
USERS = [
    PACKAGE / "device.py",
    *sorted((PACKAGE / "kernels" / "cuda").glob("*.py")),
    *sorted((PACKAGE / "train").glob("*.py")),
]
SOURCES = ("library", "array_library")  # functions that return the module
PARAMETERS = ("xp", "cupy", "library")  # names under which it is handed on
OURS = {"missing"}  # has the stand-in beyond CuPy; device.py asks for it first


def is_library(node, names):
    """Whether an expression is the array library."""
    if isinstance(node, ast.Call):
        function = node.func
        return (function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")) in SOURCES
    return isinstance(node, ast.Name) and node.id in names


def names_used(tree):
    """Dotted names that a module takes from the array library, with their lines."""
    names = set(PARAMETERS)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and is_library(node.value, ()):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    names -= functions
    used = {}
    for node in ast.walk(tree):
        parts, inner = [], node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if parts and is_library(inner, names):
            used[".".join(parts)] = node.lineno
    return used


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.name)
def test_every_name_exists_in_cupy(path):
    known = recorded()
    for name, line in names_used(ast.parse(path.read_text("utf-8"))).items():
        first = ".".join(name.split(".")[:3])
        while first and first not in known and "." in first and first.rsplit(".", 1)[0] not in MODULES:
            first = first.rsplit(".", 1)[0]  # an attribute of something that is not recorded in depth
        assert first in known or first in OURS, f"{path.name}, line {line}: cupy has no {name}"


MODULES = {
    "cuda",
    "lib",
    "lib.stride_tricks",
    "cuda.runtime",
    "cuda.memory",
    "cuda.compiler",
    "cuda.driver",
    "cuda.graph",
}


def test_the_walk_finds_what_does_not_exist():
    used = names_used(ast.parse("def f(xp):\n    return xp.einsumm(xp.cuda.Strean())\ng = library().where(1)"))
    assert {"einsumm", "cuda.Strean", "where"} <= set(used)
    assert not {"einsumm", "cuda.Strean"} & recorded()


def test_enough_is_walked():
    used = set().union(*(names_used(ast.parse(path.read_text("utf-8"))) for path in USERS))
    assert {"RawModule", "empty", "asnumpy", "ascontiguousarray", "cuda.runtime.getDeviceCount"} <= used


def test_the_stand_in_invents_nothing():
    known = recorded()
    ours = {path: set(names) for path, names in names_of(stand_in).items() if path not in ("lib", "cuda")}
    ours[""] = {name for name in dir(stand_in) if not name.startswith("_")}
    ours["cuda"] = set(stand_in.cuda.__all__)
    del ours["cuda.PinnedMemoryPointer"]  # is a bytearray, with all that one has
    invented = {f"{path}.{name}".lstrip(".") for path, names in ours.items() for name in names} - known - OURS
    assert invented - INTERNAL == set()


INTERNAL = {  # how the files of the stand-in work with each other; no name of these is used elsewhere
    "annotations", "Any", "SimpleNamespace", "builtins", "sys", "numpy", "compiler", "functions", "NUMPYS_OWN",
    "RawModule.default_build", "cuda.MemoryPool.take_back", "cuda.Stream.push", "cuda.Stream.runs_at_once",
    "cuda.Stream.recorded", "cuda.Stream.wait", "ndarray.address", "ndarray.borrowed",
}  # fmt: skip


# ---- beside the real one, where it is installed


def child(code, *arguments):
    """What a program prints as JSON. CuPy warns when it finds no driver: not here."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments], capture_output=True, text=True, check=False,
        cwd=PACKAGE.parent, env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def cupy_is_installed():
    import importlib.util

    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed: its record stands for it (pip install cupy-cuda13x)")


def test_the_record_is_right(cupy_is_installed):
    code = """
import json, cupy
from tests.simulator.cupy_names import names_of
print(json.dumps([cupy.__version__, names_of(cupy)]))"""
    version, names = child(code)
    real = {f"{path}.{name}".lstrip(".") for path, inside in names.items() for name in inside}
    if version == stand_in.__version__:
        assert recorded() == real
    missing = {name for path, inside in names_of(stand_in).items() for name in inside} & set()
    assert missing == set()


def test_signatures(cupy_is_installed):
    """A parameter that the stand-in has by name, CuPy has too."""
    code = """
import inspect, json, cupy
found = {}
for name in dir(cupy):
    try:
        found[name] = list(inspect.signature(getattr(cupy, name)).parameters)
    except (TypeError, ValueError):
        pass
print(json.dumps(found))"""
    real = child(code)
    compared = 0
    for name, theirs in real.items():
        ours = getattr(stand_in, name, None)
        if inspect.isfunction(ours) and getattr(ours, "__module__", "").startswith("minicnn") and "args" not in theirs:
            named = [p for p in inspect.signature(ours).parameters if p not in ("args", "options")]
            assert set(named) <= set(theirs) | {"out"}, f"{name}: {named} here, {theirs} in CuPy"
            compared += 1
    assert compared > 30


VIEWS = """
import json, sys
if sys.argv[1] == "real":
    import cupy, numpy
    from cupy.cuda import memory
    kept = []
    def allocate(size):
        kept.append(numpy.zeros(max(size, 1), numpy.uint8))
        owner = memory.UnownedMemory(kept[-1].ctypes.data, size, kept[-1], 0)
        return memory.MemoryPointer(owner, 0)
    cupy.cuda.set_allocator(allocate)
else:
    from minicnn.simulator import cupy
from tests.simulator.test_names import chains_of_views
print(json.dumps(chains_of_views(cupy)))"""


def chains_of_views(xp, chains=300):
    """Random chains of views: shapes, strides, addresses. (CuPy's arrays work without a driver on memory of ours.)"""
    rng, log = random.Random(7), []
    for _ in range(chains):
        first = x = xp.empty(tuple(rng.choice((1, 2, 3, 4)) for _ in range(rng.randint(1, 4))), np.float32)
        for _ in range(rng.randint(1, 5)):
            try:
                x = one_view(xp, x, rng)
            except ValueError:  # the same in both
                log.append("ValueError")
                continue
            strides = [stride for stride, size in zip(x.strides, x.shape, strict=True) if size > 1] if x.size else []
            place = x.data.ptr - first.data.ptr if x.size else 0
            log.append(
                [list(x.shape), strides, place, bool(x.flags.c_contiguous), bool(x.flags.f_contiguous), x.nbytes]
            )
    return log


def one_view(xp, x, rng):
    kind = rng.choice(("transpose", "slice", "index", "reshape", "squeeze", "swap", "new", "broadcast", "flip", "move"))
    if kind == "transpose":
        axes = list(range(x.ndim))
        rng.shuffle(axes)
        return x.transpose(tuple(axes))
    if kind == "slice":
        return x[tuple(slice(rng.choice((None, 0, 1)), None, rng.choice((1, 2, -1))) for _ in range(x.ndim))]
    if kind == "index":
        return x[rng.randint(0, 1) :] if x.ndim else x
    if kind == "reshape":
        return x.reshape(-1) if x.flags.c_contiguous else x
    if kind == "broadcast":
        return xp.broadcast_to(x, (2, *x.shape)) if x.ndim < 5 else x
    if kind == "flip":
        return xp.flip(x, 0) if x.ndim else x
    if kind == "move":
        return xp.moveaxis(x, 0, -1)
    return {"squeeze": x.squeeze, "swap": lambda: x.swapaxes(0, x.ndim - 1), "new": lambda: x[None]}[kind]()


def test_views_lie_where_cupys_lie(cupy_is_installed):
    real, ours = child(VIEWS, "real"), child(VIEWS, "stand-in")
    assert len(real) > 500
    differing = [(number, a, b) for number, (a, b) in enumerate(zip(real, ours, strict=True)) if a != b]
    assert differing == []


def test_views_are_views():
    """Without CuPy: every view of a chain sees what is written through the first array."""
    assert len(chains_of_views(stand_in, 50)) > 50
