// Convolution on tensor cores: implicit GEMM as in conv.cu, multiplied 16 × 8 at a time by mma.sync, in float32 from
// TF32 or 16-bit operands. Needs compute capability 8.0.
//
// Channels come last here: x (N, H, W, groups, C') with the channels of a group filled up with zeros to C', whole chunks
// of 16 bytes (4 floats or 8 halves). So whatever the window, what a tap reads of a pixel is contiguous and aligned, and
// cp.async brings it to shared memory, 16 bytes a thread, without a register in between; padding is a copy of no bytes.
//
//     pack.cu    x (N, C, H, W) ──→ (N, H, W, groups, C')        once for each call: 2 passes over x, and over w
//
//     conv2d     depth: chunks of (r, s, c)
//                w ┌───────┐ 128 filters × 64 bytes      3 stages: while one slice is multiplied, two are on their way
//                  └───────┘ (or 64)
//                x ┌───────┐ 128 pixels × 64 bytes       8 warps, 2 × 4, each 64 × 32 sums: 4 × 4 fragments of 16 × 8
//                  └───────┘
//                                                        y is written with channels second again
//
// A fragment's operands are 32 bytes wide, 8 TF32 or 16 halves: ldmatrix does not care which. Rows of 64 bytes would put
// rows 0, 2, 4, ... into the same banks, so chunk c of row r lies at c ^ (r / 2 mod 4).
//
// The gradient in x is the same kernel over gy, phase by phase (conv.cu). That in w has pixels as depth: slices of 8 or
// 16 pixels × 128 filters and × 128 places (r, s, c), both contiguous along the channels; operands are transposed on the
// way to the registers.
//
//     operations   2·N·P·Q·K·C'·R·S
//     bytes        (2·x + 2·w + y)·sizeof(REAL) with packing; from L2 as tile.cuh says for 128 × 128

#include "common.cuh"
#include "geometry.cuh"
#include "ptx.cuh"

constexpr int CHUNK = 16 / int(sizeof(REAL));  // numbers in 16 bytes
constexpr int THIN = 32 / int(sizeof(REAL));   // depth of one mma: 8 TF32 or 16 halves

// d += a · b for 16 × THIN times THIN × 8. tensor_cores.py says which instruction that is: mma_f16, mma_bf16 or, for
// floats, this, which rounds them to the 19 bits of TF32 first (the instruction itself would cut them off).
#ifndef MULTIPLY
#define MULTIPLY mma_of_floats
#endif
__device__ __forceinline__ void mma_of_floats(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    unsigned left[4], right[2];
#pragma unroll
    for (int i = 0; i < 4; i++) left[i] = to_tf32(__uint_as_float(a[i]));
#pragma unroll
    for (int i = 0; i < 2; i++) right[i] = to_tf32(__uint_as_float(b[i]));
    mma_tf32(d, left, right);
}

// --- conv2d and conv_transpose2d -------------------------------------------------------------------------------------

#define TILE 128  // pixels; the rows of a tile are 2 warps of UP fragments: 32 · UP
#define STAGES 3
#define WIDE 4  // chunks in a row of a slice

// The 16 bytes at chunk c of row r of a slice
__device__ __forceinline__ REAL* chunk_at(REAL* slice, int r, int c) {
    return slice + (r * WIDE + (c ^ (r >> 1 & 3))) * CHUNK;
}

// What both have in common: which weights and which pixels. Pixel (i, j) of the result, tap (a, b) and chunk c of a group
// read chunk c of pixel (i·stride_h + a·move_h − top, ...) of the image, and of tap corner + a·step_h + b·step_w of w.
struct Gather {
    int images, height, width, groups, chunks;  // of the image: chunks of one group
    int lines, rows, columns;                   // of the result: lines of w for each group, and its size
    int taps_h, taps_w, all_taps;               // those that count, and those of w
    int stride_h, stride_w, top, left, move_h, move_w, corner, step_h, step_w;
};

// Numbers of a slice of both operands
template <int UP>
constexpr int SLICE = (32 * UP + TILE) * WIDE * CHUNK;

// sum = rows m0 … of w times pixels n0 … of the image, over the slices first ≤ slice < last of WIDE chunks each
template <int UP>
__device__ __forceinline__ void gather_multiply(ACC (&sum)[UP][4][4], REAL* shared, const REAL* w, const REAL* x,
                                                const Gather& g, int group, int m0, int n0, int first, int last) {
    constexpr int LINES = UP / 2, ROWS = 32 * UP;              // rows row, row + 64, ... are a thread's to bring:
    int chunk = threadIdx.x % WIDE, row = threadIdx.x / WIDE;  // LINES of w and two of the image
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int places = g.rows * g.columns, depth = g.taps_h * g.taps_w * g.chunks;
    Divisor by_chunks(g.chunks), by_taps_w(g.taps_w);
    const REAL *weights[LINES], *corner[2];
    int h[2], v[2];
#pragma unroll
    for (int e = 0; e < LINES; e++) {
        int line = m0 + row + 64 * e;
        weights[e] = line < g.lines ? w + (group * g.lines + line) * g.all_taps * g.chunks * CHUNK : nullptr;
    }
#pragma unroll
    for (int e = 0; e < 2; e++) {
        int pixel = n0 + row + 64 * e, place = pixel % places, image = pixel / places;
        bool exists = image < g.images;
        corner[e] = x + ((exists ? image : 0) * g.height * g.width * g.groups + group) * g.chunks * CHUNK;
        h[e] = exists ? place / g.columns * g.stride_h - g.top : -(1 << 30);
        v[e] = place % g.columns * g.stride_w - g.left;
    }
    auto bring = [&](int slice) {
        REAL* to = shared + slice % STAGES * SLICE<UP>;
        int k = slice * WIDE + chunk, tap = by_chunks.of(k), c = (k - tap * g.chunks) * CHUNK;
        int a = by_taps_w.of(tap), b = tap - a * g.taps_w;
        int from = (g.corner + a * g.step_h + b * g.step_w) * g.chunks * CHUNK + c;
#pragma unroll
        for (int e = 0; e < LINES; e++) {
            bool counts = k < depth && weights[e] != nullptr;
            copy_async<16>(chunk_at(to, row + 64 * e, chunk), counts ? weights[e] + from : w, counts);
        }
#pragma unroll
        for (int e = 0; e < 2; e++) {
            int y = h[e] + a * g.move_h, z = v[e] + b * g.move_w;
            bool counts = k < depth && unsigned(y) < unsigned(g.height) && unsigned(z) < unsigned(g.width);
            const REAL* pixel = counts ? corner[e] + (y * g.width + z) * g.groups * g.chunks * CHUNK + c : x;
            copy_async<16>(chunk_at(to + ROWS * WIDE * CHUNK, row + 64 * e, chunk), pixel, counts);
        }
    };
    if (first >= last) return;
    for (int s = first; s < first + STAGES - 1; s++) {
        if (s < last) bring(s);
        copy_commit();  // also of nothing, so that the groups can be counted
    }
    int up = warp / 4 * 16 * UP, across = warp % 4 * 32;
    for (int s = first; s < last; s++) {
        copy_wait<STAGES - 2>();
        __syncthreads();  // slice s is here for all, and all are done with slice s − 1, whose place is next
        if (s + STAGES - 1 < last) bring(s + STAGES - 1);
        copy_commit();
        REAL* a = shared + s % STAGES * SLICE<UP>;
        REAL* b = a + ROWS * WIDE * CHUNK;
#pragma unroll
        for (int k = 0; k < WIDE; k += 2) {
            unsigned left[UP][4], right[4][2];
#pragma unroll
            for (int i = 0; i < UP; i++)  // matrices: rows 0-7 and 8-15 of the first chunk, then of the second
                ldmatrix_x4(left[i], chunk_at(a, up + 16 * i + lane % 16, k + lane / 16));
#pragma unroll
            for (int j = 0; j < 4; j += 2) {  // two fragments: 8 rows of both chunks, then the next 8 rows
                unsigned two[4];
                ldmatrix_x4(two, chunk_at(b, across + 8 * j + lane % 8 + lane / 16 * 8, k + lane / 8 % 2));
                right[j][0] = two[0], right[j][1] = two[1], right[j + 1][0] = two[2], right[j + 1][1] = two[3];
            }
#pragma unroll
            for (int i = 0; i < UP; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) MULTIPLY(sum[i][j], left[i], right[j]);
        }
    }
}

// Row and column of a thread's sums within the tile: sum[i][j][r]
template <int UP>
__device__ __forceinline__ int row_of(int i, int r) {
    return threadIdx.x / 128 * 16 * UP + 16 * i + threadIdx.x % 32 / 4 + r / 2 * 8;
}
__device__ __forceinline__ int column_of(int j, int r) {
    return threadIdx.x / 32 % 4 * 32 + 8 * j + threadIdx.x % 4 * 2 + r % 2;
}

template <int UP>
__device__ __forceinline__ void conv2d(REAL* shared, REAL* y, ACC* parts, const REAL* x, const REAL* w,
                                       const REAL* bias, GEOMETRY, int chunks, int pieces, int piece, int has_bias,
                                       int clip, ACC cap) {
    constexpr int ROWS = 32 * UP;
    int lines = filters / groups, places = rows * columns, n = images * places, taps = taps_h * taps_w;
    int block = blockIdx.x, tiles_m = div_up(lines, ROWS), tiles_n = div_up(n, TILE);
    int m0 = block % tiles_m * ROWS, n0 = block / tiles_m % tiles_n * TILE;
    int part = block / tiles_m / tiles_n % pieces, group = block / tiles_m / tiles_n / pieces;
    int first = part * piece, last = min(div_up(taps * chunks, WIDE), first + piece);
    Gather g = {images, height, width, groups, chunks, lines, rows, columns, taps_h, taps_w, taps, stride_h,
                stride_w, top, left, dilation_h, dilation_w, 0, taps_w, 1};
    ACC sum[UP][4][4] = {};
    gather_multiply<UP>(sum, shared, w, x, g, group, m0, n0, first, last);
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int side = 0; side < 2; side++) {
            int pixel = n0 + column_of(j, side);
            if (pixel >= n) continue;
            int corner = (pixel / places * filters + group * lines) * places + pixel % places;
#pragma unroll
            for (int i = 0; i < UP; i++)
#pragma unroll
                for (int r = side; r < 4; r += 2) {
                    int line = m0 + row_of<UP>(i, r), to = corner + line * places;
                    if (line >= lines) continue;
                    if (pieces > 1) {
                        parts[part * filters * n + to] = sum[i][j][r];
                        continue;
                    }
                    ACC value = has_bias ? sum[i][j][r] + ACC(bias[group * lines + line]) : sum[i][j][r];
                    if (clip > 0) value = relu_of(value);
                    if (clip > 1) value = at_most(value, cap);
                    y[to] = REAL(value);
                }
        }
}

template <int UP>
__device__ __forceinline__ void conv_transpose2d(REAL* shared, REAL* gx, ACC* parts, const REAL* gy, const REAL* w,
                                                 const REAL* bias, GEOMETRY, int step_h, int step_w, int leap_h,
                                                 int leap_w, int chunks, int tiles_n, int pieces, int piece,
                                                 int has_bias) {
    constexpr int ROWS = 32 * UP;
    int lines = channels / groups, block = blockIdx.x, tiles_m = div_up(lines, ROWS);
    int m0 = block % tiles_m * ROWS, n0 = block / tiles_m % tiles_n * TILE;
    block = block / tiles_m / tiles_n;
    int part = block % pieces, phase = block / pieces % (stride_h * stride_w);
    int group = block / pieces / (stride_h * stride_w), phase_h = phase / stride_w, phase_w = phase % stride_w;
    int phase_rows = (height - phase_h - 1 + stride_h) / stride_h;
    int phase_columns = (width - phase_w - 1 + stride_w) / stride_w;
    int places = phase_rows * phase_columns, n = images * places;
    if (n0 >= n) return;  // this phase has fewer pixels than the first
    Phase h(phase_h, taps_h, stride_h, top, dilation_h, step_h), v(phase_w, taps_w, stride_w, left, dilation_w, step_w);
    int first = part * piece, last = min(div_up(h.count * v.count * chunks, WIDE), first + piece);
    Gather g = {images, rows, columns, groups, chunks, lines, phase_rows, phase_columns, h.count, v.count,
                taps_h * taps_w, 1, 1, -h.start, -v.start, -leap_h, -leap_w, h.first * taps_w + v.first,
                step_h * taps_w, step_w};
    ACC sum[UP][4][4] = {};
    gather_multiply<UP>(sum, shared, w, gy, g, group, m0, n0, first, last);
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int side = 0; side < 2; side++) {
            int pixel = n0 + column_of(j, side);
            if (pixel >= n) continue;
            int place = pixel % places, at_h = place / phase_columns * stride_h + phase_h;
            int at = at_h * width + place % phase_columns * stride_w + phase_w;
            int corner = (pixel / places * channels + group * lines) * height * width + at;
#pragma unroll
            for (int i = 0; i < UP; i++)
#pragma unroll
                for (int r = side; r < 4; r += 2) {
                    int line = m0 + row_of<UP>(i, r), to = corner + line * height * width;
                    if (line >= lines) continue;
                    if (pieces > 1)
                        parts[part * images * channels * height * width + to] = sum[i][j][r];
                    else
                        gx[to] = REAL(has_bias ? sum[i][j][r] + ACC(bias[group * lines + line]) : sum[i][j][r]);
                }
        }
}

// --- conv2d_weight ---------------------------------------------------------------------------------------------------

// A row of a slice in numbers, 16 bytes more than needed: so columns lie in banks of their own
template <int ROW>
constexpr int PADDED = ROW + CHUNK;
#define DEEP 4  // stages

// Four 32-bit registers of operand a, two of b, from slices that have the depth as rows: transposed on the way.
template <int ROW>
__device__ __forceinline__ void left_of(unsigned (&d)[4], const REAL* slice, int up, float) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int r = 0; r < 4; r++) d[r] = __float_as_uint(slice[(t + r / 2 * 4) * ROW + up + g + r % 2 * 8]);
}
template <int ROW>
__device__ __forceinline__ void right_of(unsigned (&d)[2], const REAL* slice, int across, float) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int r = 0; r < 2; r++) d[r] = __float_as_uint(slice[(t + r * 4) * ROW + across + g]);
}
template <int ROW, class H>
__device__ __forceinline__ void left_of(unsigned (&d)[4], const REAL* slice, int up, H) {
    int lane = threadIdx.x % 32;  // matrices: depth 0-7 of rows 0-7 and 8-15, then depth 8-15
    ldmatrix_x4_trans(d, slice + (lane % 8 + lane / 16 * 8) * ROW + up + lane / 8 % 2 * 8);
}
template <int ROW, class H>
__device__ __forceinline__ void right_of(unsigned (&d)[2], const REAL* slice, int across, H) {
    ldmatrix_x2_trans(d, slice + threadIdx.x % 16 * ROW + across);
}

// gy (N, P, Q, groups, K'), x (N, H, W, groups, C'): columns are (tap, c') of a group
template <int UP>
__device__ __forceinline__ void conv2d_weight(REAL* shared, REAL* gw, ACC* parts, const REAL* x, const REAL* gy,
                                              GEOMETRY, int chunks, int filter_chunks, int pieces, int piece) {
    constexpr int ROWS = 32 * UP, A_ROW = PADDED<ROWS>, B_ROW = PADDED<TILE>;
    int lines = filters / groups, group_channels = channels / groups, places = rows * columns, depth = images * places;
    int n = taps_h * taps_w * chunks * CHUNK, tiles_m = div_up(lines, ROWS), tiles_n = div_up(n, TILE);
    int block = blockIdx.x;
    int m0 = block % tiles_m * ROWS, n0 = block / tiles_m % tiles_n * TILE;
    int part = block / tiles_m / tiles_n % pieces, group = block / tiles_m / tiles_n / pieces;
    int first = part * piece, last = min(div_up(depth, THIN), first + piece);
    // a thread brings one chunk of gy and one of x for each slice: always the same columns, of another pixel each time
    int chunk = threadIdx.x % (TILE / CHUNK), row = threadIdx.x / (TILE / CHUNK);
    int line = m0 / CHUNK + chunk, place_of_w = n0 / CHUNK + chunk;
    bool in_tile = chunk < ROWS / CHUNK, has_line = line < filter_chunks;
    bool has_column = place_of_w < taps_h * taps_w * chunks;
    int tap = place_of_w / chunks, c = place_of_w % chunks;
    int down = tap / taps_w * dilation_h - top, along = tap % taps_w * dilation_w - left;
    Divisor by_places(places), by_columns(columns);
    auto bring = [&](int slice) {
        REAL* a = shared + slice % DEEP * (THIN * (A_ROW + B_ROW)) + row * A_ROW + chunk * CHUNK;
        REAL* b = shared + slice % DEEP * (THIN * (A_ROW + B_ROW)) + THIN * A_ROW + row * B_ROW + chunk * CHUNK;
        int k = slice * THIN + row, image = by_places.of(k), place = k - image * places;
        int p = by_columns.of(place), q = place - p * columns, h = p * stride_h + down, v = q * stride_w + along;
        bool counts = k < depth && has_line;
        const REAL* from = counts ? gy + ((k * groups + group) * filter_chunks + line) * CHUNK : gy;
        if (in_tile) copy_async<16>(a, from, counts);
        counts = k < depth && has_column && unsigned(h) < unsigned(height) && unsigned(v) < unsigned(width);
        int pixel = (image * height + h) * width + v;
        copy_async<16>(b, counts ? x + ((pixel * groups + group) * chunks + c) * CHUNK : x, counts);
    };
    ACC sum[UP][4][4] = {};
    for (int s = first; s < first + DEEP - 1; s++) {
        if (s < last) bring(s);
        copy_commit();
    }
    int up = threadIdx.x / 128 * 16 * UP, across = threadIdx.x / 32 % 4 * 32;
    for (int s = first; s < last; s++) {
        copy_wait<DEEP - 2>();
        __syncthreads();
        if (s + DEEP - 1 < last) bring(s + DEEP - 1);
        copy_commit();
        const REAL* a = shared + s % DEEP * (THIN * (A_ROW + B_ROW));
        unsigned left[UP][4], right[4][2];
#pragma unroll
        for (int i = 0; i < UP; i++) left_of<A_ROW>(left[i], a, up + 16 * i, REAL());
#pragma unroll
        for (int j = 0; j < 4; j++) right_of<B_ROW>(right[j], a + THIN * A_ROW, across + 8 * j, REAL());
#pragma unroll
        for (int i = 0; i < UP; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) MULTIPLY(sum[i][j], left[i], right[j]);
    }
    int taps = taps_h * taps_w;
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int side = 0; side < 2; side++) {
            int column = n0 + column_of(j, side), of_tap = column / CHUNK / chunks, channel = column % (chunks * CHUNK);
            if (column >= n || channel >= group_channels) continue;
#pragma unroll
            for (int i = 0; i < UP; i++)
#pragma unroll
                for (int r = side; r < 4; r += 2) {
                    int filter = m0 + row_of<UP>(i, r);
                    if (filter >= lines) continue;
                    int to = ((group * lines + filter) * group_channels + channel) * taps + of_tap;
                    if (pieces > 1)
                        parts[part * filters * group_channels * taps + to] = sum[i][j][r];
                    else
                        gw[to] = REAL(sum[i][j][r]);
                }
        }
}

// --- for tiles of 128 rows and of 64 ---------------------------------------------------------------------------------

#define CONV2D                                                                                                         \
    REAL *y, ACC *parts, const REAL *x, const REAL *w, const REAL *bias, GEOMETRY, int chunks, int pieces, int piece,  \
        int has_bias, int clip, ACC cap
#define CONV_TRANSPOSE2D                                                                                               \
    REAL *gx, ACC *parts, const REAL *gy, const REAL *w, const REAL *bias, GEOMETRY, int step_h, int step_w,           \
        int leap_h, int leap_w, int chunks, int tiles_n, int pieces, int piece, int has_bias
#define CONV2D_WEIGHT                                                                                                  \
    REAL *gw, ACC *parts, const REAL *x, const REAL *gy, GEOMETRY, int chunks, int filter_chunks, int pieces, int piece

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_128(CONV2D) {
    __shared__ __align__(128) REAL shared[STAGES * SLICE<4>];
    conv2d<4>(shared, y, parts, x, w, bias, SAME_GEOMETRY, chunks, pieces, piece, has_bias, clip, cap);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv_transpose2d_128(CONV_TRANSPOSE2D) {
    __shared__ __align__(128) REAL shared[STAGES * SLICE<4>];
    conv_transpose2d<4>(shared, gx, parts, gy, w, bias, SAME_GEOMETRY, step_h, step_w, leap_h, leap_w, chunks, tiles_n,
                        pieces, piece, has_bias);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_weight_128(CONV2D_WEIGHT) {
    __shared__ __align__(128) REAL shared[DEEP * THIN * (PADDED<128> + PADDED<TILE>)];
    conv2d_weight<4>(shared, gw, parts, x, gy, SAME_GEOMETRY, chunks, filter_chunks, pieces, piece);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_64(CONV2D) {
    __shared__ __align__(128) REAL shared[STAGES * SLICE<2>];
    conv2d<2>(shared, y, parts, x, w, bias, SAME_GEOMETRY, chunks, pieces, piece, has_bias, clip, cap);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv_transpose2d_64(CONV_TRANSPOSE2D) {
    __shared__ __align__(128) REAL shared[STAGES * SLICE<2>];
    conv_transpose2d<2>(shared, gx, parts, gy, w, bias, SAME_GEOMETRY, step_h, step_w, leap_h, leap_w, chunks, tiles_n,
                        pieces, piece, has_bias);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_weight_64(CONV2D_WEIGHT) {
    __shared__ __align__(128) REAL shared[DEEP * THIN * (PADDED<64> + PADDED<TILE>)];
    conv2d_weight<2>(shared, gw, parts, x, gy, SAME_GEOMETRY, chunks, filter_chunks, pieces, piece);
}
