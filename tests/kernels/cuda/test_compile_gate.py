"""Every .cu file compiles for every GPU that it is meant for, and does not waste its registers.

    pytest --device cuda-sim tests/kernels/cuda/test_compile_gate.py              float, sm_80
    pytest --device cuda-sim tests/kernels/cuda/test_compile_gate.py -m slow      the other types and GPUs: minutes

No GPU is needed, only a compiler of NVIDIA's (gpu_compilers.py): pip install nvidia-cuda-nvrtc, or a CUDA toolkit.
NVRTC is preferred, since CuPy uses it; its registers are what a launch will see.
"""

import pytest

from minicnn.kernels.cuda.launch import FOLDER, unit
from minicnn.kernels.cuda.tensor_cores import MULTIPLY

from .gpu_compilers import DoesNotCompile, available, usages

FILES = sorted(path.name for path in FOLDER.glob("*.cu"))
ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
NEEDS = {"tensor_cores.cu": 80}  # the first GPU that has what a file asks for
DTYPES = {"tensor_cores.cu": ("float32", "float16", "bfloat16")}  # those that a file is compiled for
CONSTANTS = {"tensor_cores.cu": {dtype: {"MULTIPLY": name} for dtype, name in MULTIPLY.items()}}  # macros besides
COMPILERS = available()

# Registers of a thread in float. Two blocks of 256 threads on a multiprocessor need 128 or less; 64 let four in.
CEILING = 64
PRODUCTS = 128  # the tiles of products keep their sums in registers
HOT = {
    name: PRODUCTS
    for name in (
        "gemm_large", "gemm_medium", "gemm_flat", "conv2d_large", "conv2d_medium", "conv2d_flat",
        "conv_transpose2d_large", "conv_transpose2d_medium", "conv_transpose2d_flat",
        "conv2d_weight_large", "conv2d_weight_medium", "conv2d_weight_flat",
        "direct_conv2d_3x3", "direct_conv_transpose2d_3x3",  # nine taps and their numbers
        "conv2d_128", "conv_transpose2d_128", "conv2d_weight_128",
        "conv2d_64", "conv_transpose2d_64", "conv2d_weight_64",
    )
}  # fmt: skip


@pytest.mark.parametrize("file", FILES)
def test_compiles_for_a_gpu(file, device):
    compile_and_judge(file, "float32", "sm_80")


OTHERS = [("float32", arch) for arch in ARCHITECTURES if arch != "sm_80"] + [
    (dtype, arch) for dtype in ("float64", "float16", "bfloat16") for arch in ARCHITECTURES
]


@pytest.mark.slow
@pytest.mark.parametrize("dtype, arch", OTHERS)
@pytest.mark.parametrize("file", FILES)
def test_compiles_for_every_gpu(file, dtype, arch, device):
    if dtype not in DTYPES.get(file, ("float32", "float64")):
        pytest.skip(f"{file} has no kernels for {dtype}")
    if int(arch.removeprefix("sm_")) < NEEDS.get(file, 0):
        pytest.skip(f"{file} needs sm_{NEEDS[file]}")
    compile_and_judge(file, dtype, arch)


def compile_and_judge(file, dtype, arch):
    if not COMPILERS:
        pytest.skip("neither NVRTC nor nvcc is here: pip install nvidia-cuda-nvrtc")
    name, compiler = next(iter(COMPILERS.items()))
    code, options = unit(file, dtype, tuple(CONSTANTS.get(file, {}).get(dtype, {}).items()))
    macros = [option for option in options if option.startswith("-D")]
    try:
        found = usages(compiler(code, FOLDER, macros, arch))
    except DoesNotCompile as error:
        pytest.fail(f"{name} for {arch}: {error}")
    assert found
    for kernel, usage in found.items():
        assert usage.spilled == 0, f"{kernel} spills {usage.spilled} bytes of registers for {arch}"
        assert usage.stack == 0, f"{kernel} keeps {usage.stack} bytes of local variables in memory for {arch}"
        ceiling = 255 if dtype == "float64" else HOT.get(kernel, CEILING)
        assert usage.registers <= ceiling, f"{kernel} takes {usage.registers} registers for {arch}, more than {ceiling}"


@pytest.mark.parametrize("name", COMPILERS or [None])
def test_the_gate_can_fail(name, device):
    """A log is an error, registers and spills are read, and the file is named."""
    if name is None:
        pytest.skip("neither NVRTC nor nvcc is here: pip install nvidia-cuda-nvrtc")
    compiler = COMPILERS[name]
    head = '#line 1 "wrong.cu"\nextern "C" __global__ void __launch_bounds__(1024, 2) k(float* y, int n) {\n'
    with pytest.raises(DoesNotCompile, match=r'wrong.cu"?\(2\): error: identifier "z" is undefined'):
        compiler(head + "y[0] = z; }", FOLDER, [], "sm_80")
    crowd = "float a[64];\n for (int i = 0; i < 64; i++) a[i] = y[i * n];\n __syncthreads();\n"
    crowd += "#pragma unroll\nfor (int i = 0; i < 64; i++) y[i] = a[i] * a[63 - i] + a[(i * 7) % 64]; }"
    used = usages(compiler(head + crowd, FOLDER, [], "sm_80"))["k"]
    assert used.registers <= 32
    assert used.spilled > 0
