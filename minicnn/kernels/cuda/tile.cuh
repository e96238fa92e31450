// One product of matrices, tile by tile: the loop that gemm.cu and conv.cu share.
//
//     sum[m][n] = Σ_k a(m, k) · b(n, k)
//
// A block computes ROWS × COLUMNS sums, a thread UP × ACROSS of them (8 × 8 in the large tile), in registers:
//
//                            b: DEPTH × COLUMNS              registers: for each k a thread reads UP + ACROSS
//                           ┌─────────────────┐              numbers from shared memory and does UP · ACROSS
//                           │   k ▒▒▒▒  ▒▒▒▒  │              multiply-adds with them
//                           └─────────────────┘
//     a: DEPTH × ROWS       ┌─────────────────┐              shared: each number of a slice is read COLUMNS/ACROSS
//     ┌───────────┐         │     ▓▓▓▓  ▓▓▓▓  │              or ROWS/UP times, from global memory once
//     │ ▒         │         │     ▓▓▓▓  ▓▓▓▓  │
//     │ ▒         │         │                 │              two buffers: while one slice is multiplied, the next
//     │           │         │     ▓▓▓▓  ▓▓▓▓  │              is on its way, first to registers, then to the other
//     │ ▒         │         │     ▓▓▓▓  ▓▓▓▓  │              buffer; one barrier a slice
//     └───────────┘         └─────────────────┘
//
// A thread's sums are groups of 4 × 4, so that it reads shared memory four numbers at a time and neighbours read
// neighbours. The threads of a warp are 4 × 8.
//
//     operations   2·M·N·depth
//     bytes        M·N·depth·(1/ROWS + 1/COLUMNS)·sizeof(REAL) from L2, of which DRAM sees each number about once
//
// What a(m, k) and b(n, k) are is the kernels' business, but both come out of an image, at a place that is the sum of
// what m (or n) says and what k says. That makes convolution a product whose matrices exist nowhere:
//
//     Spot{offset, h, w} of the row + Spot of the depth  ->  image[offset + h·width + w], or 0 where (h, w) is outside
//
// So padding costs nothing but the test, and the tails of a tile are NOWHERE.

#pragma once
#include "common.cuh"

struct Spot {
    int offset, h, w;
};

#define NOWHERE (Spot{-2147483647 - 1, -(1 << 30), 0})  // plus what a depth says: outside of every image and matrix

struct Image {
    const REAL* at;
    int height, width;

    __device__ __forceinline__ ACC read(const Spot& row, const Spot& depth) const {
        int h = row.h + depth.h, w = row.w + depth.w;
        bool inside = unsigned(h) < unsigned(height) && unsigned(w) < unsigned(width);
        return inside ? ACC(at[row.offset + depth.offset + h * width + w]) : ACC(0);
    }
};

// A plain matrix, of whose Spots only the offset counts. If `masked` it counts as 0 where another of the same layout is not
// above 0: a gradient behind a relu.
struct Matrix {
    const REAL *at, *mask;
    bool masked;

    __device__ __forceinline__ ACC read(const Spot& row, const Spot& depth) const {
        int place = row.offset + depth.offset;
        return place < 0 || (masked && !(ACC(mask[place]) > ACC(0))) ? ACC(0) : ACC(at[place]);
    }
};

struct __align__(16) Four {
    ACC v[4];
};

template <int ROWS_, int COLUMNS_, int DEPTH_, int UP_, int ACROSS_>
struct Tile {
    static constexpr int ROWS = ROWS_, COLUMNS = COLUMNS_, DEPTH = DEPTH_, UP = UP_, ACROSS = ACROSS_;
    static constexpr int THREADS = (ROWS / UP) * (COLUMNS / ACROSS);
    static constexpr int WARPS_ACROSS = COLUMNS / ACROSS / 8;
    // 4 more than needed: what is stored along the depth goes to banks of its own, and stays aligned
    static constexpr int A = DEPTH * (ROWS + 4), B = DEPTH * (COLUMNS + 4);
    static constexpr int SHARED = 2 * (A + B);

    // The first of a thread's rows and columns; its groups of four lie ROWS·4/UP and COLUMNS·4/ACROSS apart.
    static __device__ __forceinline__ int up() {
        return threadIdx.x / 32 / WARPS_ACROSS * 16 + threadIdx.x % 32 / 8 * 4;
    }
    static __device__ __forceinline__ int across() {
        return threadIdx.x / 32 % WARPS_ACROSS * 32 + threadIdx.x % 8 * 4;
    }
    static __device__ __forceinline__ int row(int i) { return up() + i / 4 * (ROWS * 4 / UP) + i % 4; }
    static __device__ __forceinline__ int column(int j) { return across() + j / 4 * (COLUMNS * 4 / ACROSS) + j % 4; }
};

// Blocks that a multiprocessor is to hold at once, so that one computes while another waits: it bounds the registers.
constexpr int RESIDENT = sizeof(ACC) == 4 ? 2 : 1;

using Large = Tile<128, 128, 8, 8, 8>;
using Medium = Tile<64, 64, 16, 4, 4>;
using Flat = Tile<32, 128, 16, 4, 4>;

// Which elements of a slice one thread brings: the e-th is at row + e·row_step, depth + e·depth_step. Neighbouring
// threads take neighbours along the depth, or along the rows, whichever is contiguous in memory.
template <int LINES, int DEPTH, int THREADS>
struct Share {
    static constexpr int COUNT = LINES * DEPTH / THREADS;
    static_assert(LINES * DEPTH % THREADS == 0 && THREADS % LINES == 0 && THREADS % DEPTH == 0, "uneven shares");
    int row, row_step, depth, depth_step;

    __device__ __forceinline__ explicit Share(bool along_depth) {
        int t = threadIdx.x;
        row = along_depth ? t / DEPTH : t % LINES, row_step = along_depth ? THREADS / DEPTH : 0;
        depth = along_depth ? t % DEPTH : t / LINES, depth_step = along_depth ? 0 : THREADS / LINES;
    }
};

// sum += a · b over first ≤ k < last. a_row(m), a_depth(k), b_row(n), b_depth(k) give Spots; m and n count from the
// tile's corner, and a row that does not exist is NOWHERE. They are asked for no k ≥ last. a_along, b_along: whether
// memory is contiguous along the depth. `shared` has room for T::SHARED numbers.
template <class T, class A, class ARow, class ADepth, class B, class BRow, class BDepth>
__device__ __forceinline__ void multiply(ACC (&sum)[T::UP][T::ACROSS], ACC* shared, int first, int last,
                                         const A& a, const ARow& a_row, const ADepth& a_depth, bool a_along,
                                         const B& b, const BRow& b_row, const BDepth& b_depth, bool b_along) {
    using ShareA = Share<T::ROWS, T::DEPTH, T::THREADS>;
    using ShareB = Share<T::COLUMNS, T::DEPTH, T::THREADS>;
    ShareA mine_a(a_along);
    ShareB mine_b(b_along);
    Spot rows_a[ShareA::COUNT], rows_b[ShareB::COUNT];
    ACC next_a[ShareA::COUNT], next_b[ShareB::COUNT];
#pragma unroll
    for (int e = 0; e < ShareA::COUNT; e++) rows_a[e] = a_row(mine_a.row + e * mine_a.row_step);
#pragma unroll
    for (int e = 0; e < ShareB::COUNT; e++) rows_b[e] = b_row(mine_b.row + e * mine_b.row_step);

    auto fetch = [&](int from) {
#pragma unroll
        for (int e = 0; e < ShareA::COUNT; e++) {
            int k = from + mine_a.depth + e * mine_a.depth_step;
            next_a[e] = k < last ? a.read(rows_a[e], a_depth(k)) : ACC(0);
        }
#pragma unroll
        for (int e = 0; e < ShareB::COUNT; e++) {
            int k = from + mine_b.depth + e * mine_b.depth_step;
            next_b[e] = k < last ? b.read(rows_b[e], b_depth(k)) : ACC(0);
        }
    };
    auto store = [&](ACC* to) {
#pragma unroll
        for (int e = 0; e < ShareA::COUNT; e++)
            to[(mine_a.depth + e * mine_a.depth_step) * (T::ROWS + 4) + mine_a.row + e * mine_a.row_step] = next_a[e];
#pragma unroll
        for (int e = 0; e < ShareB::COUNT; e++)
            to[T::A + (mine_b.depth + e * mine_b.depth_step) * (T::COLUMNS + 4) + mine_b.row + e * mine_b.row_step] =
                next_b[e];
    };

    if (first >= last) return;
    int up = T::up(), across = T::across();
    int buffer = 0;
    fetch(first);
    store(shared);
    __syncthreads();
    for (int from = first + T::DEPTH;; from += T::DEPTH) {
        if (from < last) fetch(from);
        const ACC* now = shared + buffer;
#pragma unroll 1  // more of it in flight would not fit into 128 registers
        for (int k = 0; k < T::DEPTH; k++) {
            Four u[T::UP / 4], v[T::ACROSS / 4];
#pragma unroll
            for (int g = 0; g < T::UP / 4; g++)
                u[g] = *(const Four*)(now + k * (T::ROWS + 4) + up + g * (T::ROWS * 4 / T::UP));
#pragma unroll
            for (int g = 0; g < T::ACROSS / 4; g++)
                v[g] = *(const Four*)(now + T::A + k * (T::COLUMNS + 4) + across + g * (T::COLUMNS * 4 / T::ACROSS));
#pragma unroll
            for (int i = 0; i < T::UP; i++)
#pragma unroll
                for (int j = 0; j < T::ACROSS; j++) sum[i][j] += u[i / 4].v[i % 4] * v[j / 4].v[j % 4];
        }
        if (from >= last) break;
        buffer = T::A + T::B - buffer;
        store(shared + buffer);
        __syncthreads();
    }
}
