"""The house: what may import what, what stands where, and how long a file may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Each may import those before it, never one after it; the packages also their own parts.
ORDER = (
    "errors", "simulator", "device", "kernels", "tensor", "anomaly", "function", "recompute", "autograd", "ops",
    "table", "diagnose", "probing", "derivative", "causes", "candidate", "smallest", "likeness", "gradcheck", "nn",
    "optim", "amp", "data", "formats", "explain", "train", "labs", "minicnn", "models", "__main__", "examples",
)  # fmt: skip
MODELS_MAY = {"nn", "ops", "formats", "errors", "tensor", "models"}  # no training, no data: architectures only
LATE = {  # imported when first needed, so that `import minicnn` is quick and works without them
    "PIL", "cupy", "llvmlite", "matplotlib", "ml_dtypes", "mpi4py", "numba", "onnx", "rich", "safetensors",
    "threadpoolctl", "torch",
}  # fmt: skip
SLOW = {"PIL", "llvmlite", "matplotlib", "numba", "rich", "safetensors", "threadpoolctl"}
# Of ours too: what is imported when gradcheck is called, and the packages that no network needs.
LATE_PARTS = {"candidate", "derivative", "likeness", "probing"}
NOT_AT_FIRST = LATE_PARTS | {
    "causes", "data", "diagnose", "explain", "formats", "kernels.cuda", "simulator", "smallest", "train",
}  # fmt: skip


def python_files(folder):
    return sorted((ROOT / folder).rglob("*.py"))


SOURCES = [*python_files("minicnn"), *python_files("models"), *python_files("examples")]
MINICNN = [path for path in SOURCES if path.is_relative_to(ROOT / "minicnn")]
MODELS = [path for path in SOURCES if path.is_relative_to(ROOT / "models")]


def name_of(path):
    return str(path.relative_to(ROOT))


def walk(node, inside=()):
    """Every import statement, with the functions and conditions around it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, inside
        yield from walk(child, (*inside, child))


def is_for_types_only(inside):
    return any(isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) for node in inside)


def imported(statement, path):
    """The dotted names that a statement imports; `from . import a` imports package.a."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if statement.level:
        package = path.relative_to(ROOT).parent.parts
        start = ".".join(package[: len(package) - statement.level + 1])
    else:
        start = ""
    module = ".".join(part for part in (start, statement.module) if part)
    return [f"{module}.{alias.name}" for alias in statement.names]


def part_of(dotted):
    """The entry of ORDER that a dotted name belongs to, None for what is not ours; the front page is "minicnn"."""
    first, *rest = dotted.split(".")
    if first != "minicnn":
        return first if first in ("models", "examples") else None
    return rest[0] if rest and rest[0] in ORDER else "minicnn"


def home_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return part_of(".".join(parts if parts[-1] != "__init__" else parts[:-1]))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_run_one_way(path):
    home = home_of(path)
    for statement, inside in walk(ast.parse(path.read_text("utf-8"))):
        if is_for_types_only(inside):
            continue
        for dotted in imported(statement, path):
            part = part_of(dotted)
            if part not in (None, home):
                assert ORDER.index(part) < ORDER.index(home), f"line {statement.lineno}: {home} imports {dotted}"
                if home == "models":
                    allowed = part in MODELS_MAY or dotted == "minicnn.Tensor"
                    assert allowed, f"line {statement.lineno}: models import {dotted}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_stand_at_the_top(path):
    """Inside of a function only what is slow to import, or may be missing."""
    for statement, inside in walk(ast.parse(path.read_text("utf-8"))):
        if any(isinstance(node, ast.FunctionDef | ast.Lambda) for node in inside):
            dotted = imported(statement, path)
            names = {name.split(".")[0] for name in dotted if part_of(name) not in LATE_PARTS}
            assert names <= LATE, f"line {statement.lineno} imports {names} inside of a function"


def test_every_part_of_minicnn_has_its_place():
    parts = {path.stem for path in (ROOT / "minicnn").glob("*.py")} - {"__init__"}
    parts |= {path.parent.name for path in (ROOT / "minicnn").glob("*/__init__.py")}
    assert parts <= set(ORDER), "say in ORDER where it stands"


def test_import_is_light():
    """What is slow to import waits until it is needed."""
    code = "import sys, minicnn; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert SLOW & {name.split(".")[0] for name in loaded.split()} == set()
    assert {f"minicnn.{name}" for name in NOT_AT_FIRST} & set(loaded.split()) == set()


def test_top_level_has_nothing_else():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    top = {name.split("/")[0] for name in tracked.splitlines()}
    house = {"pyproject.toml", "README.md", "minicnn", "models", "tests", "examples"}
    assert {name for name in top if not name.startswith(".")} <= house


@pytest.mark.parametrize("path", MINICNN, ids=name_of)
def test_file_is_one_room(path):
    assert len(path.read_text("utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", MODELS, ids=name_of)
def test_one_paper_fits_into_200_lines(path):
    assert len(path.read_text("utf-8").splitlines()) <= 200


@pytest.mark.parametrize("path", python_files("tests/oracles"), ids=name_of)
def test_oracles_share_nothing_with_what_they_judge(path):
    for statement, _ in walk(ast.parse(path.read_text("utf-8"))):
        names = imported(statement, path)
        ours = [name for name in names if name.split(".")[0] not in ("numpy", *sys.stdlib_module_names)]
        assert all(name.startswith("tests.oracles.") for name in ours), f"line {statement.lineno} imports {ours}"
