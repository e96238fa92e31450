"""A small kernel file that is right, for tests that break it, and what runs it."""

import numpy as np

from minicnn.simulator import RawModule

F, INT = np.float32, np.int32

ALL = "#define ALL 0xffffffffu\n"

KERNELS = {
    "axpby": r"""
extern "C" __global__ void axpby(float* __restrict__ y, const float* __restrict__ x, float a, float b, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = a * x[i] + b * y[i];
}
""",
    "relu4": r"""
extern "C" __global__ void relu4(float4* y, const float4* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = make_float4(fmaxf(x[i].x, 0.f), fmaxf(x[i].y, 0.f), fmaxf(x[i].z, 0.f), fmaxf(x[i].w, 0.f));
}
""",
    "box3": r"""
// y[n][p] = the sum of the 3 × 3 window around p, zeros outside
extern "C" __global__ void box3(float* y, const float* x, int images, int height, int width) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= images * height * width) return;
    int w = i % width, h = i / width % height;
    float sum = 0;
    for (int dh = -1; dh <= 1; dh++)
        for (int dw = -1; dw <= 1; dw++)
            if (h + dh >= 0 && h + dh < height && w + dw >= 0 && w + dw < width) sum += x[i + dh * width + dw];
    y[i] = sum;
}
""",
    "row_sum": r"""
// one block for each row: shuffles within a warp, shared memory between warps
extern "C" __global__ void __launch_bounds__(256) row_sum(float* y, const float* x, int n) {
    __shared__ float partial[8];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += x[blockIdx.x * n + i];
    for (int d = 16; d > 0; d /= 2) sum += __shfl_down_sync(ALL, sum, d);
    if (lane == 0) partial[warp] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        float total = 0;
        for (int i = 0; i < blockDim.x / 32; i++) total += partial[i];
        y[blockIdx.x] = total;
    }
}
""",
    "softmax": r"""
// one block for each row; dynamic shared memory is used twice
extern "C" __global__ void softmax(float* y, const float* x, int n) {
    extern __shared__ float room[];
    int t = threadIdx.x;
    x += blockIdx.x * n, y += blockIdx.x * n;
    float largest = x[0];
    for (int i = t; i < n; i += blockDim.x) largest = fmaxf(largest, x[i]);
    room[t] = largest;
    __syncthreads();
    for (int i = 0; i < blockDim.x; i++) largest = fmaxf(largest, room[i]);
    __syncthreads();
    float sum = 0;
    for (int i = t; i < n; i += blockDim.x) sum += __expf(x[i] - largest);
    room[t] = sum;
    __syncthreads();
    sum = 0;
    for (int i = 0; i < blockDim.x; i++) sum += room[i];
    for (int i = t; i < n; i += blockDim.x) y[i] = __expf(x[i] - largest) / sum;
}
""",
    "matmul": r"""
// C = A B, tile by tile
template <int TILE>
__global__ void matmul(float* c, const float* a, const float* b, int rows, int columns, int depth) {
    __shared__ __align__(16) float left[TILE][TILE + 1], right[TILE][TILE];
    int tx = threadIdx.x, ty = threadIdx.y, row = blockIdx.y * TILE + ty, column = blockIdx.x * TILE + tx;
    float sum = 0;
    for (int k = 0; k < depth; k += TILE) {
        left[ty][tx] = row < rows && k + tx < depth ? a[row * depth + k + tx] : 0.f;
        right[ty][tx] = column < columns && k + ty < depth ? b[(k + ty) * columns + column] : 0.f;
        __syncthreads();
        for (int i = 0; i < TILE; i++) sum += left[ty][i] * right[i][tx];
        __syncthreads();
    }
    if (row < rows && column < columns) c[row * columns + column] = sum;
}
""",
    "histogram": r"""
extern "C" __global__ void histogram(int* counts, const int* values, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&counts[values[i]], 1);
}
""",
}
CODE = ALL + "".join(KERNELS.values())


TEMPLATES = ("matmul<8>",)


def numbers(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(F)


def module(name="", old="", new=""):
    """The kernels, or only one of them, with one piece of text replaced by another."""
    code = ALL + KERNELS[name] if name else CODE
    assert old in code, old
    names = [template for template in TEMPLATES if template.split("<")[0] == name or not name]
    return RawModule(code=code.replace(old, new, 1) if old else code, name_expressions=names)


# Each runs a kernel of a module and returns (result, expected).


def axpby(kernels, n=100):
    x, y = numbers(n), numbers(n, 1)[:, 0].copy()
    expected = F(2) * x + F(0.5) * y
    kernels.get_function("axpby")((3,), (16,), (y, x, F(2), F(0.5), INT(n)))
    return y, expected


def relu4(kernels):
    whole = np.zeros(264, F)
    x = whole[-whole.ctypes.data // 4 % 4 :][:256]  # a multiple of 16 bytes
    x[:] = numbers(256)
    y = x.copy()
    y = np.zeros(264, F)[-y.ctypes.data // 4 % 4 :][:256]
    kernels.get_function("relu4")((2,), (32,), (_float4(y), _float4(x), INT(64)))
    return y, np.maximum(x, 0)


def _float4(array):
    return array.view(np.dtype((np.void, 16)))


def box3(kernels):
    x, y = numbers(2, 5, 7), np.full((2, 5, 7), np.nan, F)
    kernels.get_function("box3")((3,), (32,), (y, x, INT(2), INT(5), INT(7)))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    return y, sum(padded[:, i : i + 5, j : j + 7] for i in range(3) for j in range(3))


def row_sum(kernels):
    x, y = numbers(3, 300), np.full(3, np.nan, F)
    kernels.get_function("row_sum")((3,), (128,), (y, x, INT(300)))
    return y, x.sum(1)


def softmax(kernels):
    x, y = numbers(3, 50), np.full((3, 50), np.nan, F)
    kernels.get_function("softmax")((3,), (64,), (y, x, INT(50)), shared_mem=256)
    e = np.exp(x - x.max(1, keepdims=True))
    return y, e / e.sum(1, keepdims=True)


def matmul(kernels):
    a, b, c = numbers(13, 21), numbers(21, 10), np.full((13, 10), np.nan, F)
    kernels.get_function("matmul<8>")((2, 2), (8, 8), (c, a, b, INT(13), INT(10), INT(21)))
    return c, a @ b


def histogram(kernels):
    values = np.random.default_rng(0).integers(0, 5, 100).astype(INT)
    counts = np.zeros(5, INT)
    kernels.get_function("histogram")((4,), (32,), (counts, values, INT(100)))
    return counts, np.bincount(values, minlength=5)


RUNS = (axpby, relu4, box3, row_sum, softmax, matmul, histogram)
