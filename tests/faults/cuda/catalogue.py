"""The catalogue: one fault of a kernel in each row."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One fault: `old` becomes `new` in a file of minicnn/kernels/cuda; tests of tests/kernels/cuda must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: str  # the file without test_ and .py
    select: str = ""  # pytest -k
    harmless: str = ""  # why nobody can notice

    def applied_to(self, text: str) -> str:
        """The file with the fault in it."""
        assert text.count(self.old) >= 1, f"{self.file} no longer has: {self.old}"
        return text.replace(self.old, self.new, 1)


SHARED = (  # headers
    Mutant("a block's sum is read before the barrier", "common.cuh",
           "] = x;\n    __syncthreads();\n    x = shared[0];\n    for (int warp = 1; warp < blockDim.x / 32; warp++) x",
           "] = x;\n    x = shared[0];\n    for (int warp = 1; warp < blockDim.x / 32; warp++) x",
           "norm", "readable_kernel"),
    Mutant("a block's sum is written over before everybody has read it", "common.cuh",
           "x += shared[warp];\n    __syncthreads();", "x += shared[warp];",
           "norm", "readable_kernel"),
    Mutant("a warp's sum leaves out half of the lanes", "common.cuh",
           "for (int distance = 16; distance > 0; distance >>= 1) x +=",
           "for (int distance = 8; distance > 0; distance >>= 1) x +=",
           "norm", "readable_kernel"),
    Mutant("a warp's sum in which lanes 16 to 31 do not take part", "common.cuh",
           "x += __shfl_xor_sync(ALL_LANES", "x += __shfl_xor_sync(0xffffu", "norm", "readable_kernel"),
    Mutant("one element too many", "common.cuh",
           "i < (n); i = next", "i <= (n); i = i == (n) ? i + 1 : next", "pool", "test_max or watch"),
    Mutant("a thread's second turn is one step short", "common.cuh",
           "i + step : n", "i + step - 1 : n", "launch",
           ""),
    Mutant("a quotient that is one off now and then", "common.cuh",
           "+ unsigned(d) - 1) /", ") /", "norm",
           "readable_kernel"),
    Mutant("ceil of a negative quotient", "common.cuh",
           "a > 0 ? (a - 1) / b + 1 : a / b", "(a - 1) / b + 1",
           "pool", "average"),
    Mutant("a product's slice is stored while others read it", "tile.cuh",
           "store(shared + buffer);\n        __syncthreads();", "store(shared + buffer);", "gemm", "tile or watch"),
    Mutant("a product's last slice reads past the end", "tile.cuh",
           "k < last ? a.read(rows_a[e], a_depth(k)) : ACC(0)",
           "a.read(rows_a[e], a_depth(k))", "gemm", "tile or watch"),
    Mutant("a tile is stored with another stride than it is read with", "tile.cuh",
           "* (T::ROWS + 4) + mine_a.row", "* T::ROWS + mine_a.row", "gemm", "tile or watch"),
    Mutant("convolution sees the neighbouring row where it should see padding", "tile.cuh",
           "unsigned(h) < unsigned(height) && unsigned(w) < unsigned(width)", "unsigned(h) < unsigned(height)",
           "conv", "reference or watch"),
)  # fmt: skip

CONVOLUTIONS = (
    Mutant("the last tile writes filters that do not exist", "conv.cu",
           "            if (row >= group_filters) continue;\n            int to = corner",
           "            int to = corner", "conv", "tile or watch"),
    Mutant("the weight's gradient takes the wrong image", "conv.cu",
           "k + image * (filters - 1) * places}",
           "k + image * filters * places}", "conv", "reference or watch"),
    Mutant("the input's gradient walks the taps the wrong way", "conv.cu",
           "-i * leap_h", "i * leap_h", "conv",
           "reference or watch"),
    Mutant("the bias's gradient reads one image too far", "conv.cu",
           "k < last; k += 256", "k <= last; k += 256", "conv",
           "reference or watch"),
    Mutant("a cap that is never applied", "conv.cu",
           "if (clip > 1)", "if (clip > 2)", "conv", "reference"),
    Mutant("a sum in pieces forgets the last", "parts.cu",
           "s < pieces; s++", "s < pieces - 1; s++", "conv", "pieces"),
    Mutant("columns of a product are written past the end", "gemm.cu",
           "            if (column >= n) continue;\n", "",
           "gemm", "tile or watch"),
    Mutant("a bias's sums are added before all warps have theirs", "gemm.cu",
           "sums[warp][lane] = sum;\n    __syncthreads();", "sums[warp][lane] = sum;", "gemm", "linear or watch"),
    Mutant("a small convolution forgets the upper border", "direct.cu",
           "h >= 0 && h < height", "h < height", "conv",
           "reference or watch"),
)  # fmt: skip

POOLING = (
    Mutant("the halo is one row too high", "pool.cu",
           "if (h < 0 || h >= height) continue;",
           "if (h < 0 || h > height) continue;", "pool", "test_max or watch"),
    Mutant("the last of equal maxima wins", "pool.cu",
           "value > best ||", "value >= best ||", "pool", "test_max"),
    Mutant("an index with the height for the width", "pool.cu",
           "best = value, winner = h * width + v",
           "best = value, winner = h * height + v", "pool", "test_max"),
    Mutant("sums are added to before they are 0", "pool.cu",
           "claims[t] = NOBODY;\n    __syncthreads();",
           "claims[t] = NOBODY;", "pool", "test_max or gradients or watch"),
    Mutant("two threads claim a pixel without an atomic", "pool.cu",
           "atomicMin(&claims[target[e]], first + e * 256)",
           "claims[target[e]] = min(claims[target[e]], first + e * 256)", "pool", "test_max or gradients or watch"),
    Mutant("claims are taken back before everybody has looked", "pool.cu",
           "ACC(gy[first + e * 256]);\n            }\n            __syncthreads();",
           "ACC(gy[first + e * 256]);\n            }", "pool", "test_max or gradients or watch"),
    Mutant("the last strip of an image is as long as the others", "pool.cu",
           "min(STRIP, pixels - from)", "STRIP", "pool",
           "test_max or strips or watch"),
    Mutant("pixels that nobody names are left as they were", "pool.cu",
           "y[i] = last[i] >= 0 ? x[i / pixels * outputs + last[i]] : REAL(0)",
           "if (last[i] >= 0) y[i] = x[i / pixels * outputs + last[i]]", "pool", "unpool or watch"),
    Mutant("the declared padding is counted above, not below", "pool.cu",
           "height + (padded ? bottom : 0)", "height",
           "pool", "average"),
    Mutant("a gradient of windows that begin elsewhere", "pool.cu",
           "|| p * stride_h != at", "", "pool", "average"),
    Mutant("all lanes of a warp write the same result", "adaptive.cu",
           "if (i % lanes == 0) y[output]", "y[output]", "pool",
           "adaptive or warp"),
    Mutant("a band that is one column too wide", "resize.cu",
           "k < column_band", "k <= column_band", "resize"),
)  # fmt: skip

STATISTICS = (
    Mutant("moments are merged before the barrier", "norm.cu",
           "m.squares;\n    }\n    __syncthreads();", "m.squares;\n    }", "norm", "readable_kernel"),
    Mutant("Chan's formula without the count", "norm.cu",
           "apart * apart * n * share", "apart * apart * share", "norm",
           "readable_kernel"),
    Mutant("a slice takes numbers of the next channel", "norm.cu",
           "last = min(groups, first + per_slice);\n    Moments",
           "last = first + per_slice;\n    Moments", "norm", "readable_kernel"),
    Mutant("the activation's mask is lost", "norm.cu",
           "f.on ? f.masked(ACC(g.v[v]), ACC(result.v[v])) : ACC(g.v[v])",
           "ACC(g.v[v])", "norm", "readable_kernel"),
    Mutant("a row's number for its channel's", "norm.cu",
           "lines[row - images.of(row) * channels]", "lines[row]", "norm",
           "readable_kernel"),
    Mutant("the variance is never written", "norm.cu",
           "mean[c] = m.mean, var[c] = m.squares / m.n;", "mean[c] = m.mean;",
           "norm", "readable_kernel"),
    Mutant("columns are added up before the barrier", "reduce.cu",
           "    }\n    __syncthreads();\n    if (warp == 0 && there)", "    }\n    if (warp == 0 && there)", "reduce"),
    Mutant("a column that does not exist", "reduce.cu",
           "bool there = k < k1 * k2", "bool there = k <= k1 * k2", "reduce"),
    Mutant("of equal maxima any", "reduce.cu",
           "(a.value == b.value && first)", "a.value == b.value", "reduce",
           "first_of or axes"),
    Mutant("softmax without its largest number", "softmax.cu",
           "exp(ACC(x[at(c)]) - m);", "exp(ACC(x[at(c)]));",
           "classes"),
    Mutant("a label of another row", "softmax.cu",
           "labels[i / inner / classes * inner + i % inner]",
           "labels[i / classes]", "classes"),
    Mutant("a gradient for each row where there is one for all", "softmax.cu",
           "g[one ? 0 : j]", "g[j]", "classes"),
    Mutant("the response's window is not mirrored in its gradient", "lrn.cu",
           "before < channels - 1 - c ? c + before", "before < channels - 1 - c ? c + after", "lrn"),
)  # fmt: skip

REST = (
    Mutant("the last three random words are written as four", "random.cu",
           "4 * block + 4 <= n", "4 * block <= n",
           "random"),
    Mutant("nine rounds of Philox", "random.cu",
           "round < 10", "round < 9", "random"),
    Mutant("a parameter's last chunk is as long as the others", "steps.cu",
           "min((long long)CHUNK, row.size - start)",
           "(long long)CHUNK", "steps"),
    Mutant("finite if one number is", "steps.cu",
           "bool all = __syncthreads_and(own);\n    if (threadIdx.x == 0) finite",
           "bool all = __syncthreads_or(own);\n    if (threadIdx.x == 0) finite", "steps"),
    Mutant("a run takes the first of the next", "index.cu",
           "j < starts[k + 1]; j += t", "j <= starts[k + 1]; j += t",
           "index"),
    Mutant("a line's elements are scattered by different threads", "index.cu",
           "y[to] = REAL(ACC(y[to]) + ACC(v[from]))",
           "y[to] = v[from]", "index", "gather"),
)  # fmt: skip

MUTANTS = SHARED + CONVOLUTIONS + POOLING + STATISTICS + REST
