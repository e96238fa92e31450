"""Everything that needs a GPU, in one command of at most ten minutes:

    python tests/benchmarks/on_a_gpu.py --out FOLDER

It says what card and versions these are, runs `pytest --device cuda`, and measures steps beside PyTorch's, eager and
as CUDA graphs. What it prints, and the rows in FOLDER, belong into minicnn/kernels/cuda/NOTES.md with their date. Each
part has its share of the time; one that fails or takes too long stops no other, and the exit status counts them.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEP = [sys.executable, "tests/benchmarks/train_step.py", "--device", "cuda", "--against", "torch", "--repeats", "7"]


def measured(model: str, *options: str) -> list[str]:
    """A command of train_step.py whose rows get a file of their own."""
    file = "_".join([model, *(option.strip("-") for option in options)])
    return [*STEP, "--models", model, *options, "--json", "{out}/" + file + ".json"]


# name, seconds, command; {out} is the folder
PARTS = (
    ("checks", 270, [sys.executable, "-m", "pytest", "--device", "cuda", "-q", "-p", "no:cacheprovider"]),
    ("lenet5, eager", 60, measured("lenet5")),
    ("lenet5, graphs", 60, measured("lenet5", "--capture")),
    ("resnet18, eager", 60, measured("resnet18")),
    ("resnet50, TF32", 90, measured("resnet50", "--precision", "tf32")),
    ("resnet50, bfloat16", 60, measured("resnet50", "--precision", "bfloat16")),
)


def facts() -> str:
    """Date, card and versions."""
    from minicnn import device

    cupy = device.array_library("cuda")
    card = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    lines = [f"{datetime.date.today()}, {card}, driver {cupy.cuda.runtime.driverGetVersion()}"]
    lines += [
        f"Python {platform.python_version()}, CuPy {cupy.__version__}, CUDA {cupy.cuda.runtime.runtimeGetVersion()}"
    ]
    try:
        import torch

        lines += [f"PyTorch {torch.__version__}"]
    except ImportError:
        lines += ["no PyTorch: pip install torch"]
    return "\n".join(lines)


def run(name: str, seconds: int, command: list[str]) -> bool:
    """One part; whether it ended well."""
    started = time.perf_counter()
    print(f"\n== {name}", flush=True)
    try:
        code = subprocess.run(command, cwd=ROOT, timeout=seconds, check=False).returncode
    except subprocess.TimeoutExpired:
        code = f"stopped after its {seconds} s"
    print(f"== {name}: {'well' if code == 0 else code}, {time.perf_counter() - started:.0f} s", flush=True)
    return code == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder for the measured rows")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print(facts(), flush=True)
    out = str(args.out.resolve())
    return sum(not run(name, seconds, [part.format(out=out) for part in command]) for name, seconds, command in PARTS)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from minicnn.train import teaching_errors

    with teaching_errors():
        sys.exit(main())
