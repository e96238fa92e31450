// What the kernels share: the threads of a grid, the ends of a floating-point type, sums over a warp and over a block,
// division by a number that stays the same.
//
// Sums have a fixed order. Within a warp it is the butterfly, lane i with lane i ^ 16, then ^ 8, ^ 4, ^ 2, ^ 1:
//
//     lane   0   1   2   3   4   5   6   7
//            └───┼───┼───┼───┘   │   │   │     ^ 4        all lanes end with the same sum, to the bit,
//            └───┼───┘   │       ...           ^ 2        since a + b = b + a
//            └───┘                             ^ 1
//
// then the warps' sums are added in the order of the warps. No atomics: equal inputs give equal bytes.

#pragma once

#define ALL_LANES 0xffffffffu

// for (EACH(i, n)): the threads of a one-dimensional grid take the elements 0 ≤ i < n in turns
#define EACH(i, n) int i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i = next_of_grid(i, n)

__device__ __forceinline__ int next_of_grid(int i, int n) {
    int step = gridDim.x * blockDim.x;
    return i < n - step ? i + step : n;  // i + step may be more than an int holds
}

// --- the ends of a type ----------------------------------------------------------------------------------------------

__device__ __forceinline__ ACC infinity() { return ACC(__int_as_float(0x7f800000)); }
__device__ __forceinline__ ACC not_a_number() { return ACC(__int_as_float(0x7fc00000)); }

__device__ __forceinline__ bool is_nan(ACC x) { return x != x; }

// max(x, 0) and min(x, cap) that let NaN through, as NumPy's do; fmax would give the other argument
__device__ __forceinline__ ACC relu_of(ACC x) { return x <= ACC(0) ? ACC(0) : x; }
__device__ __forceinline__ ACC at_most(ACC x, ACC cap) { return x > cap ? cap : x; }

// --- reductions ------------------------------------------------------------------------------------------------------

template <class T>
__device__ __forceinline__ T warp_sum(T x) {
    for (int distance = 16; distance > 0; distance >>= 1) x += __shfl_xor_sync(ALL_LANES, x, distance);
    return x;
}

template <class T>
__device__ __forceinline__ T warp_max(T x) {  // without regard for NaN
    for (int distance = 16; distance > 0; distance >>= 1) {
        T other = __shfl_xor_sync(ALL_LANES, x, distance);
        x = other > x ? other : x;
    }
    return x;
}

// The sum over a block of whole warps, for all its threads. `shared` has room for one T of each warp (32 at most) and
// may be used again at once.
template <class T>
__device__ __forceinline__ T block_sum(T x, T* shared) {
    x = warp_sum(x);
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[0];
    for (int warp = 1; warp < blockDim.x / 32; warp++) x += shared[warp];
    __syncthreads();
    return x;
}

template <class T>
__device__ __forceinline__ T block_max(T x, T* shared) {
    x = warp_max(x);
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[0];
    for (int warp = 1; warp < blockDim.x / 32; warp++) x = shared[warp] > x ? shared[warp] : x;
    __syncthreads();
    return x;
}

// --- index arithmetic ------------------------------------------------------------------------------------------------

__device__ __forceinline__ int div_up(int a, int b) { return (a + b - 1) / b; }

// ⌈a / b⌉ and ⌊a / b⌋ for b > 0 and any sign of a
__device__ __forceinline__ int ceil_of(int a, int b) { return b == 1 ? a : a > 0 ? (a - 1) / b + 1 : a / b; }
__device__ __forceinline__ int floor_of(int a, int b) { return b == 1 ? a : a < 0 ? (a + 1) / b - 1 : a / b; }

// Division by a number that stays the same for the life of a thread: a multiplication by 2^p / d, rounded up, and a
// shift, 3 instructions instead of 20. Exact for 0 ≤ n < 2³¹. Source: Granlund and Montgomery 1994, "Division by
// invariant integers using multiplication".
struct Divisor {
    int d;
    unsigned factor;  // 0 for d = 1
    int shift;

    __device__ explicit Divisor(int by) : d(by < 1 ? 1 : by), factor(0), shift(0) {
        if (d > 1) {
            int bits = 32 - __clz(d - 1);  // ⌈log₂ d⌉
            factor = unsigned(((1ull << (31 + bits)) + unsigned(d) - 1) / unsigned(d));
            shift = bits - 1;
        }
    }
    __device__ __forceinline__ int of(int n) const {
        return factor == 0 ? n : int(__umulhi(unsigned(n), factor) >> shift);
    }
};
