// Channels last, in groups filled up with zeros: what the tensor cores' kernels read (tensor_cores.cu).
//
//     x  c ┌──────┐  rows of places     tile (32 × 32, shared)     rows of channels  ┌──────┐ place  out
//          └──────┘ ───────────────→  written by rows, read by columns ──────────→   └──────┘
//
//     operations   none        bytes   x read once, out written once: 2·x·sizeof(REAL)

#include "common.cuh"

// out[outer][place][c] = x[outer][c][place], and 0 for channels ≤ c < padded. An outer index is two: outer / inner and
// outer % inner, with a step each, in x and in out. Tiles of 32 × 32 turn around in shared memory, so that both sides are
// contiguous.
extern "C" __global__ void __launch_bounds__(256) pack(REAL* out, const REAL* x, int inner, int channels, int padded,
                                                       int places, int x_outer, int x_inner, int x_channel,
                                                       int out_outer, int out_inner, int out_place) {
    __shared__ ACC tile[32][33];
    int tiles_p = div_up(places, 32), tiles_c = div_up(padded, 32), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int p0 = blockIdx.x % tiles_p * 32, c0 = blockIdx.x / tiles_p % tiles_c * 32, outer = blockIdx.x / tiles_p / tiles_c;
    x += outer / inner * x_outer + outer % inner * x_inner;
    out += outer / inner * out_outer + outer % inner * out_inner;
    for (int row = warp; row < 32; row += 8) {
        bool inside = c0 + row < channels && p0 + lane < places;
        tile[row][lane] = inside ? ACC(x[(c0 + row) * x_channel + p0 + lane]) : ACC(0);
    }
    __syncthreads();
    for (int row = warp; row < 32; row += 8)
        if (p0 + row < places && c0 + lane < padded) out[(p0 + row) * out_place + c0 + lane] = REAL(tile[lane][row]);
}
