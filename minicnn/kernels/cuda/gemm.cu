// Products of matrices with any strides, their sums split over blocks where there are few of them.
//
//     y[z] = relu(a[z] · b[z] + bias)             a (M, K), b (K, N), y (M, N) for each z of a batch
//
//                    b ┌──┬──┬──┐                 tile.cuh has the loop over K. Blocks that follow one another share
//                      │  │  │  │ K               a tile of b: it comes from L2 once the first has read it.
//                      └──┴──┴──┘
//     a ┌──────┐     y ┌──┬──┬──┐
//       ├──────┤       ├──┼──┼──┤  a block         split: where y has few tiles and K is long, each of several blocks
//       ├──────┤       ├──┼──┼──┤  each            adds up a piece of K, and parts.cu adds the pieces, in their order
//       └──────┘       └──┴──┴──┘
//
//     operations   2·M·N·K
//     bytes        (M·K + K·N + M·N)·sizeof(REAL), and with S pieces 2·S·M·N·sizeof(ACC) more

#include "tile.cuh"

template <class T>
__device__ __forceinline__ void gemm(ACC* shared, REAL* y, ACC* parts, const REAL* a, const REAL* mask, const REAL* b,
                                     const REAL* bias, int m, int n, int k, int am, int ak, int bk, int bn, int inner,
                                     int a_outer, int a_inner, int b_outer, int b_inner, int batch, int pieces,
                                     int piece, int masked, int has_bias, int relu) {
    int block = blockIdx.x, tiles_m = div_up(m, T::ROWS), tiles_n = div_up(n, T::COLUMNS);
    int m0 = block % tiles_m * T::ROWS, n0 = block / tiles_m % tiles_n * T::COLUMNS;
    int part = block / tiles_m / tiles_n % pieces, z = block / tiles_m / tiles_n / pieces;
    int a0 = z / inner * a_outer + z % inner * a_inner, b0 = z / inner * b_outer + z % inner * b_inner;
    int first = part * piece, last = min(k, first + piece);
    ACC sum[T::UP][T::ACROSS] = {};
    multiply<T>(
        sum, shared, first, last,  //
        Matrix{a, mask, masked != 0}, [=](int i) { return m0 + i < m ? Spot{a0 + (m0 + i) * am} : NOWHERE; },
        [=](int d) { return Spot{d * ak}; }, ak == 1,  //
        Matrix{b, b, false}, [=](int j) { return n0 + j < n ? Spot{b0 + (n0 + j) * bn} : NOWHERE; },
        [=](int d) { return Spot{d * bk}; }, bk == 1);
#pragma unroll
    for (int i = 0; i < T::UP; i++) {
        int row = m0 + T::row(i);
        if (row >= m) continue;
#pragma unroll
        for (int j = 0; j < T::ACROSS; j++) {
            int column = n0 + T::column(j);
            if (column >= n) continue;
            int place = (z * m + row) * n + column;
            if (pieces > 1) {
                parts[part * batch * m * n + place] = sum[i][j];
                continue;
            }
            ACC value = has_bias ? sum[i][j] + ACC(bias[column]) : sum[i][j];
            y[place] = REAL(relu ? relu_of(value) : value);
        }
    }
}

#define PARAMETERS                                                                                                     \
    REAL *y, ACC *parts, const REAL *a, const REAL *mask, const REAL *b, const REAL *bias, int m, int n, int k,        \
        int am, int ak, int bk, int bn, int inner, int a_outer, int a_inner, int b_outer, int b_inner, int batch,      \
        int pieces, int piece, int masked, int has_bias, int relu
#define ARGUMENTS                                                                                                      \
    shared, y, parts, a, mask, b, bias, m, n, k, am, ak, bk, bn, inner, a_outer, a_inner, b_outer, b_inner, batch,     \
        pieces, piece, masked, has_bias, relu

extern "C" __global__ void __launch_bounds__(256, RESIDENT) gemm_large(PARAMETERS) {
    __shared__ __align__(16) ACC shared[Large::SHARED];
    gemm<Large>(ARGUMENTS);
}

extern "C" __global__ void __launch_bounds__(256, RESIDENT) gemm_medium(PARAMETERS) {
    __shared__ __align__(16) ACC shared[Medium::SHARED];
    gemm<Medium>(ARGUMENTS);
}

extern "C" __global__ void __launch_bounds__(256, RESIDENT) gemm_flat(PARAMETERS) {
    __shared__ __align__(16) ACC shared[Flat::SHARED];
    gemm<Flat>(ARGUMENTS);
}

// y[j] = Σ_i x[i][j], x (rows, columns), 0 where the mask is not above 0: the gradient of a bias. 32 columns a block;
// its 8 warps take rows in turns, and their sums are added in the order of the warps.
extern "C" __global__ void __launch_bounds__(256) column_sum(REAL* y, const REAL* x, const REAL* mask, int rows,
                                                             int columns, int masked) {
    __shared__ ACC sums[8][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
    ACC sum = 0;
    if (column < columns)
        for (int i = warp; i < rows; i += 8) {
            int place = i * columns + column;
            if (!masked || ACC(mask[place]) > ACC(0)) sum += ACC(x[place]);
        }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || column >= columns) return;
    for (int other = 1; other < 8; other++) sum += sums[other][lane];
    y[column] = REAL(sum);
}
