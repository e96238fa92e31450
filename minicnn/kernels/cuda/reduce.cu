// Sums and maxima over axes.
//
// Axes that lie side by side and are all reduced, or all kept, count as one. What is left alternates, and there are at
// most two of each kind (reduce.py sees to it); K are kept, R are reduced:
//
//     rows       x (K1, R1, K2, R2): a group of threads for each output, neighbours read neighbours along R2
//     columns    x (R1, K1, R2, K2): 32 outputs side by side for a block, 8 threads for each of them
//
//                 32 outputs →                        a warp reads 32 numbers side by side along K2;
//          warp 0 ████████████████                    then the 8 sums of each output meet in shared memory
//          warp 1 ████████████████
//            ⋮    r ↓
//
// Where outputs are few, `slices` parts of each are reduced by themselves, into y[k·slices + s], and a second launch
// reduces those. Which thread adds what depends on shapes only.
//
//     operations   1 for each number            bytes   4 for each number of float32, written next to nothing
//
// A thread adds its share, at most 256 numbers where slices are cut, in four accumulators: 64 each. With 8 levels for
// the block an error is at most about 75·u·Σ|x|, u = 2⁻²⁴ (twice that with slices); rounding to and fro it is far less.
#include "group.cuh"

struct Sum {
    static constexpr bool shifted = false;
    __device__ static ACC nothing() { return 0; }
    __device__ static ACC of(ACC x, ACC) { return x; }
    __device__ static ACC both(ACC a, ACC b) { return a + b; }
};

struct SumOfExponentials : Sum {
    static constexpr bool shifted = true;
    __device__ static ACC of(ACC x, ACC shift) { return exp(x - shift); }
};

struct Max {
    static constexpr bool shifted = false;
    __device__ static ACC nothing() { return -infinity(); }
    __device__ static ACC of(ACC x, ACC) { return x; }
    __device__ static ACC both(ACC a, ACC b) { return is_nan(a) || a > b ? a : b; }  // NaN is largest
};

// Where number r of an output stands: r = r1·R2 + r2 at r1·outer + r2·step.
struct Places {
    Divisor r2;
    int outer, step;

    __device__ Places(int r1, int r2, int outer, int step) : r2(r1 == 1 ? 1 : r2), outer(outer), step(step) {
        if (r1 == 1) this->outer = step, this->step = 0;  // then r itself counts the steps
    }
    __device__ __forceinline__ int of(int r) const {
        int a = r2.of(r);
        return a * outer + (r - a * r2.d) * step;
    }
};

// What one thread reduces: the numbers first, first + step, ... below last
template <class Op>
__device__ __forceinline__ ACC share(const REAL* x, Places places, int first, int last, int step, ACC shift) {
    ACC a[4] = {Op::nothing(), Op::nothing(), Op::nothing(), Op::nothing()};
    int r = first;
    for (; r < last - 3 * step; r += 4 * step) {  // four loads under way at once
#pragma unroll
        for (int i = 0; i < 4; i++) a[i] = Op::both(a[i], Op::of(ACC(x[places.of(r + i * step)]), shift));
    }
    for (; r < last; r += step) a[0] = Op::both(a[0], Op::of(ACC(x[places.of(r)]), shift));
    return Op::both(Op::both(a[0], a[1]), Op::both(a[2], a[3]));
}

template <class Op>
__device__ __forceinline__ ACC over_group(ACC a, int t, ACC* shared) {
    if (t == 1) return a;
    for (int distance = 16; distance > 0; distance >>= 1) a = Op::both(a, __shfl_xor_sync(ALL_LANES, a, distance));
    if (t == 32) return a;
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = a;
    __syncthreads();
    a = shared[0];
    for (int warp = 1; warp < t / 32; warp++) a = Op::both(a, shared[warp]);
    __syncthreads();
    return a;
}

// x (K1, R1, K2, R2), shift (K1·K2) if Op has use for it -> y (K1·K2, slices)
template <class Op>
__device__ __forceinline__ void rows(
    ACC* y, const REAL* x, const ACC* shift, int k1, int r1, int k2, int r2, int slices, int per_slice, int t,
    ACC* shared
) {
    Places places(r1, r2, k2 * r2, 1);
    int lane = threadIdx.x % t;
    for (EACH_ROW(part, k1 * k2 * slices, t)) {
        int k = part / slices, first = part % slices * per_slice, last = min(r1 * r2, first + per_slice);
        const REAL* own = x + (k / k2 * r1 * k2 + k % k2) * r2;
        ACC a = share<Op>(own, places, first + lane, last, t, Op::shifted ? shift[k] : ACC(0));
        a = over_group<Op>(a, t, shared);
        if (lane == 0) y[part] = a;
    }
}

// x (R1, K1, R2, K2) -> y (K1·K2, slices); block b has outputs 32·⌊b / slices⌋ onwards, and slice b % slices of them
template <class Op>
__device__ __forceinline__ void columns(
    ACC* y, const REAL* x, const ACC* shift, int r1, int k1, int r2, int k2, int slices, int per_slice,
    ACC (*shared)[32]
) {
    Places places(r1, r2, k1 * r2 * k2, k2);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    int k = blockIdx.x / slices * 32 + lane, slice = blockIdx.x % slices;
    int first = slice * per_slice, last = min(r1 * r2, first + per_slice);
    bool there = k < k1 * k2;
    if (there) {
        const REAL* own = x + k / k2 * r2 * k2 + k % k2;
        shared[warp][lane] = share<Op>(own, places, first + warp, last, warps, Op::shifted ? shift[k] : ACC(0));
    }
    __syncthreads();
    if (warp == 0 && there) {
        ACC a = shared[0][lane];
        for (int other = 1; other < warps; other++) a = Op::both(a, shared[other][lane]);
        y[k * slices + slice] = a;
    }
}

extern "C" __global__ void sum_rows(
    ACC* y, const REAL* x, const ACC* shift, int k1, int r1, int k2, int r2, int slices, int per_slice, int t
) {
    __shared__ ACC shared[32];
    rows<Sum>(y, x, shift, k1, r1, k2, r2, slices, per_slice, t, shared);
}

extern "C" __global__ void sum_columns(
    ACC* y, const REAL* x, const ACC* shift, int r1, int k1, int r2, int k2, int slices, int per_slice, int t
) {
    __shared__ ACC shared[8][32];
    columns<Sum>(y, x, shift, r1, k1, r2, k2, slices, per_slice, shared);
}

extern "C" __global__ void exponentials_rows(
    ACC* y, const REAL* x, const ACC* shift, int k1, int r1, int k2, int r2, int slices, int per_slice, int t
) {
    __shared__ ACC shared[32];
    rows<SumOfExponentials>(y, x, shift, k1, r1, k2, r2, slices, per_slice, t, shared);
}

extern "C" __global__ void exponentials_columns(
    ACC* y, const REAL* x, const ACC* shift, int r1, int k1, int r2, int k2, int slices, int per_slice, int t
) {
    __shared__ ACC shared[8][32];
    columns<SumOfExponentials>(y, x, shift, r1, k1, r2, k2, slices, per_slice, shared);
}

extern "C" __global__ void max_rows(
    ACC* y, const REAL* x, const ACC* shift, int k1, int r1, int k2, int r2, int slices, int per_slice, int t
) {
    __shared__ ACC shared[32];
    rows<Max>(y, x, shift, k1, r1, k2, r2, slices, per_slice, t, shared);
}

extern "C" __global__ void max_columns(
    ACC* y, const REAL* x, const ACC* shift, int r1, int k1, int r2, int k2, int slices, int per_slice, int t
) {
    __shared__ ACC shared[8][32];
    columns<Max>(y, x, shift, r1, k1, r2, k2, slices, per_slice, shared);
}

// --- ln Σ eˣ: from the largest and Σ e^(x − shift) --------------------------------------------------------------------

// ∞ − ∞ would be NaN: where the largest is not finite nothing is shifted
extern "C" __global__ void shifts(ACC* shift, const ACC* largest, int n) {
    for (EACH(i, n)) shift[i] = largest[i] - largest[i] == 0 ? largest[i] : ACC(0);
}

extern "C" __global__ void logarithms(REAL* y, const ACC* total, const ACC* shift, int n) {
    for (EACH(i, n)) y[i] = REAL(log(total[i]) + shift[i]);
}

// --- where the largest or smallest is ---------------------------------------------------------------------------------

struct Best {
    ACC value;
    int index;
};

// The larger of two; of equal ones the first; NaN is largest
__device__ __forceinline__ Best larger(Best a, Best b) {
    bool first = a.index < b.index;
    if (is_nan(a.value) || is_nan(b.value)) {
        return is_nan(a.value) && (first || !is_nan(b.value)) ? a : b;
    }
    return a.value > b.value || (a.value == b.value && first) ? a : b;
}

// x (rows, n) or, with inner > 1, (rows / inner, n, inner) -> y (rows,); sign −1 for the smallest
extern "C" __global__ void arg_largest(long long* y, const REAL* x, ACC sign, int rows, int n, int inner, int t) {
    __shared__ ACC values[32];
    __shared__ int indices[32];
    int lane = threadIdx.x % t;
    for (EACH_ROW(row, rows, t)) {
        const REAL* own = x + row / inner * n * inner + row % inner;
        Best best = {sign * ACC(own[0]), 0};
        for (int i = lane; i < n; i += t) best = larger(best, {sign * ACC(own[i * inner]), i});
        if (t > 1) {
            for (int distance = 16; distance > 0; distance >>= 1) {
                ACC value = __shfl_xor_sync(ALL_LANES, best.value, distance);
                int index = __shfl_xor_sync(ALL_LANES, best.index, distance);
                best = larger(best, {value, index});
            }
        }
        if (t > 32) {
            if (threadIdx.x % 32 == 0) values[threadIdx.x / 32] = best.value, indices[threadIdx.x / 32] = best.index;
            __syncthreads();
            for (int warp = 0; warp < t / 32; warp++) best = larger(best, {values[warp], indices[warp]});
            __syncthreads();
        }
        if (lane == 0) y[row] = best.index;
    }
}
