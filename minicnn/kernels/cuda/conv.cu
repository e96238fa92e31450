// Convolution as a product of matrices that exist nowhere (implicit GEMM): no columns are written to memory. tile.cuh has
// the loop; here is which element of x, w and gy stands at row m (or column n) and depth k. For each group:
//
//                      rows m           columns n          depth k                    a(m, k)      b(n, k)
//     conv2d           filter           (image, p, q)      (channel, r, s)            w            x
//     conv_transpose   channel          (image, h, w)      (filter, r, s) that meet   w            gy
//     conv2d_weight    filter           (channel, r, s)    (image, p, q)              gy           x
//
//          depth k = (channel, r, s)                      x, one channel
//         ┌─────────────────────────┐                    ┌─────────────────┐
//      w  │ filter                  │    b(n, k):        │     n  says where the window starts:  p·stride − top
//         └─────────────────────────┘                    │     ┌─────┐     │
//                                                        │     │  · ←┼─────┼── k  says which tap:  r·dilation
//                                                        │     └─────┘     │
//                                                        └─────────────────┘
//     Their sum is the place, outside of the image it is padding.
//
// The transposed convolution gathers: gx[h] takes gy[p] where p·stride + r·dilation = h + top. Which r can, depends on
// h mod stride only. So the pixels are dealt with phase by phase, each with the taps it has, and each phase is a
// convolution of stride 1 again:
//
//     stride 2, 3 taps:   h   0 1 2 3 4 5     phase 0: tap 1 (with top = 1)      h = phase + stride·i
//                             ┴ │ ┴ │ ┴ │     phase 1: taps 0 and 2              p = i + start − j·leap,  r = first + j·step
//
//     operations   2·N·P·Q·K·C/groups·R·S for each of the three
//     bytes        (x + w + y)·sizeof(REAL) from DRAM; from L2 as tile.cuh says

#include "geometry.cuh"
#include "tile.cuh"

// --- conv2d ----------------------------------------------------------------------------------------------------------

template <class T>
__device__ __forceinline__ void conv2d(ACC* shared, REAL* y, ACC* parts, const REAL* x, const REAL* w,
                                       const REAL* bias, GEOMETRY, int pieces, int piece, int has_bias, int clip,
                                       ACC cap) {
    int places = rows * columns, n = images * places, taps = taps_h * taps_w;
    int group_channels = channels / groups, group_filters = filters / groups, depth = group_channels * taps;
    int block = blockIdx.x, tiles_m = div_up(group_filters, T::ROWS), tiles_n = div_up(n, T::COLUMNS);
    int m0 = block % tiles_m * T::ROWS, n0 = block / tiles_m % tiles_n * T::COLUMNS;
    int part = block / tiles_m / tiles_n % pieces, group = block / tiles_m / tiles_n / pieces;
    int first = part * piece, last = min(depth, first + piece);
    Divisor by_taps(taps), by_taps_w(taps_w);
    ACC sum[T::UP][T::ACROSS] = {};
    multiply<T>(
        sum, shared, first, last,  //
        Matrix{w, w, false},
        [=](int i) { return m0 + i < group_filters ? Spot{(group * group_filters + m0 + i) * depth} : NOWHERE; },
        [=](int k) { return Spot{k}; }, true,  //
        Image{x, height, width},
        [=](int j) {
            if (n0 + j >= n) return NOWHERE;
            int image = (n0 + j) / places, place = (n0 + j) % places;
            int p = place / columns, q = place % columns;
            return Spot{(image * channels + group * group_channels) * height * width, p * stride_h - top,
                        q * stride_w - left};
        },
        [=](int k) {
            int channel = by_taps.of(k), tap = k - channel * taps;
            int r = by_taps_w.of(tap), s = tap - r * taps_w;
            return Spot{channel * height * width, r * dilation_h, s * dilation_w};
        },
        false);
#pragma unroll
    for (int j = 0; j < T::ACROSS; j++) {
        int column = n0 + T::column(j);
        if (column >= n) continue;
        int corner = (column / places * filters + group * group_filters) * places + column % places;
#pragma unroll
        for (int i = 0; i < T::UP; i++) {
            int row = m0 + T::row(i);
            if (row >= group_filters) continue;
            int to = corner + row * places;
            if (pieces > 1) {
                parts[part * filters * n + to] = sum[i][j];
                continue;
            }
            ACC value = has_bias ? sum[i][j] + ACC(bias[group * group_filters + row]) : sum[i][j];
            if (clip > 0) value = relu_of(value);
            if (clip > 1) value = at_most(value, cap);
            y[to] = REAL(value);
        }
    }
}

// --- conv_transpose2d ------------------------------------------------------------------------------------------------

template <class T>
__device__ __forceinline__ void conv_transpose2d(ACC* shared, REAL* gx, ACC* parts, const REAL* gy, const REAL* w,
                                                 const REAL* bias, GEOMETRY, int step_h, int step_w, int leap_h,
                                                 int leap_w, int tiles_n, int pieces, int piece, int has_bias) {
    int group_channels = channels / groups, group_filters = filters / groups;
    int block = blockIdx.x, tiles_m = div_up(group_channels, T::ROWS);
    int m0 = block % tiles_m * T::ROWS, n0 = block / tiles_m % tiles_n * T::COLUMNS;
    block = block / tiles_m / tiles_n;
    int part = block % pieces, phase = block / pieces % (stride_h * stride_w);
    int group = block / pieces / (stride_h * stride_w);
    int phase_h = phase / stride_w, phase_w = phase % stride_w;
    int phase_rows = (height - phase_h - 1 + stride_h) / stride_h;
    int phase_columns = (width - phase_w - 1 + stride_w) / stride_w;
    int places = phase_rows * phase_columns, n = images * places;
    if (n0 >= n) return;  // this phase has fewer pixels than the first
    Phase h(phase_h, taps_h, stride_h, top, dilation_h, step_h), v(phase_w, taps_w, stride_w, left, dilation_w, step_w);
    int corner_tap = h.first * taps_w + v.first, taps = h.count * v.count, first = part * piece, last = min(group_filters * taps, first + piece);
    Divisor by_taps(taps), by_taps_w(v.count);
    ACC sum[T::UP][T::ACROSS] = {};
    multiply<T>(
        sum, shared, first, last,  //
        Matrix{w, w, false},
        [=](int i) {
            if (m0 + i >= group_channels) return NOWHERE;
            return Spot{(group * group_filters * group_channels + m0 + i) * taps_h * taps_w + corner_tap};
        },
        [=](int k) {
            int filter = by_taps.of(k), tap = k - filter * taps;
            int i = by_taps_w.of(tap), j = tap - i * v.count;
            return Spot{(filter * group_channels * taps_h + i * step_h) * taps_w + j * step_w};
        },
        false,  //
        Image{gy, rows, columns},
        [=](int j) {
            if (n0 + j >= n) return NOWHERE;
            int image = (n0 + j) / places, place = (n0 + j) % places;
            return Spot{(image * filters + group * group_filters) * rows * columns, place / phase_columns + h.start,
                        place % phase_columns + v.start};
        },
        [=](int k) {
            int filter = by_taps.of(k), tap = k - filter * taps;
            int i = by_taps_w.of(tap), j = tap - i * v.count;
            return Spot{filter * rows * columns, -i * leap_h, -j * leap_w};
        },
        false);
#pragma unroll
    for (int j = 0; j < T::ACROSS; j++) {
        int column = n0 + T::column(j);
        if (column >= n) continue;
        int place = column % places, row_of_image = place / phase_columns * stride_h + phase_h;
        int corner = (column / places * channels + group * group_channels) * height * width + row_of_image * width +
                     place % phase_columns * stride_w + phase_w;
#pragma unroll
        for (int i = 0; i < T::UP; i++) {
            int row = m0 + T::row(i);
            if (row >= group_channels) continue;
            int to = corner + row * height * width;
            if (pieces > 1)
                parts[part * images * channels * height * width + to] = sum[i][j];
            else
                gx[to] = REAL(has_bias ? sum[i][j] + ACC(bias[group * group_channels + row]) : sum[i][j]);
        }
    }
}

// --- conv2d_weight ---------------------------------------------------------------------------------------------------

template <class T>
__device__ __forceinline__ void conv2d_weight(ACC* shared, REAL* gw, ACC* parts, const REAL* x, const REAL* gy,
                                              GEOMETRY, int pieces, int piece) {
    int places = rows * columns, taps = taps_h * taps_w, depth = images * places;
    int group_channels = channels / groups, group_filters = filters / groups, n = group_channels * taps;
    int block = blockIdx.x, tiles_m = div_up(group_filters, T::ROWS), tiles_n = div_up(n, T::COLUMNS);
    int m0 = block % tiles_m * T::ROWS, n0 = block / tiles_m % tiles_n * T::COLUMNS;
    int part = block / tiles_m / tiles_n % pieces, group = block / tiles_m / tiles_n / pieces;
    int first = part * piece, last = min(depth, first + piece);
    Divisor by_places(places), by_columns(columns);
    ACC sum[T::UP][T::ACROSS] = {};
    multiply<T>(
        sum, shared, first, last,  //
        Matrix{gy, gy, false},
        [=](int i) { return m0 + i < group_filters ? Spot{(group * group_filters + m0 + i) * places} : NOWHERE; },
        [=](int k) {
            int image = by_places.of(k);
            return Spot{k + image * (filters - 1) * places};
        },
        true,  //
        Image{x, height, width},
        [=](int j) {
            if (n0 + j >= n) return NOWHERE;
            int channel = (n0 + j) / taps, tap = (n0 + j) % taps;
            return Spot{(group * group_channels + channel) * height * width, tap / taps_w * dilation_h,
                        tap % taps_w * dilation_w};
        },
        [=](int k) {
            int image = by_places.of(k), place = k - image * places;
            int p = by_columns.of(place), q = place - p * columns;
            return Spot{image * channels * height * width, p * stride_h - top, q * stride_w - left};
        },
        true);
#pragma unroll
    for (int i = 0; i < T::UP; i++) {
        int row = m0 + T::row(i);
        if (row >= group_filters) continue;
#pragma unroll
        for (int j = 0; j < T::ACROSS; j++) {
            int column = n0 + T::column(j);
            if (column >= n) continue;
            int to = (group * group_filters + row) * n + column;
            if (pieces > 1)
                parts[part * filters * n + to] = sum[i][j];
            else
                gw[to] = REAL(sum[i][j]);
        }
    }
}

// gb[k] = Σ gy[n][k][p][q]: a block for each filter and piece of the images, to be added up by add_parts.
extern "C" __global__ void __launch_bounds__(256) conv2d_bias(ACC* parts, const REAL* gy, int images, int filters,
                                                              int places, int piece) {
    __shared__ ACC warps[8];
    int filter = blockIdx.x % filters, part = blockIdx.x / filters;
    int first = part * piece, last = min(images * places, first + piece);
    Divisor by_places(places);
    ACC sum = 0;
    for (int k = first + threadIdx.x; k < last; k += 256) {
        int image = by_places.of(k);
        sum += ACC(gy[k + (image * (filters - 1) + filter) * places]);
    }
    sum = block_sum(sum, warps);
    if (threadIdx.x == 0) parts[part * filters + filter] = sum;
}

// --- for each tile ---------------------------------------------------------------------------------------------------

#define CONV2D                                                                                                         \
    REAL *y, ACC *parts, const REAL *x, const REAL *w, const REAL *bias, GEOMETRY, int pieces, int piece,              \
        int has_bias, int clip, ACC cap
#define CONV_TRANSPOSE2D                                                                                               \
    REAL *gx, ACC *parts, const REAL *gy, const REAL *w, const REAL *bias, GEOMETRY, int step_h, int step_w,           \
        int leap_h, int leap_w, int tiles_n, int pieces, int piece, int has_bias
#define CONV2D_WEIGHT REAL *gw, ACC *parts, const REAL *x, const REAL *gy, GEOMETRY, int pieces, int piece

extern "C" __global__ void __launch_bounds__(256, RESIDENT) conv2d_large(CONV2D) {
    __shared__ __align__(16) ACC shared[Large::SHARED];
    conv2d<Large>(shared, y, parts, x, w, bias, SAME_GEOMETRY, pieces, piece, has_bias, clip, cap);
}

extern "C" __global__ void __launch_bounds__(256, RESIDENT) conv2d_medium(CONV2D) {
    __shared__ __align__(16) ACC shared[Medium::SHARED];
    conv2d<Medium>(shared, y, parts, x, w, bias, SAME_GEOMETRY, pieces, piece, has_bias, clip, cap);
}

extern "C" __global__ void __launch_bounds__(256, RESIDENT) conv2d_flat(CONV2D) {
    __shared__ __align__(16) ACC shared[Flat::SHARED];
    conv2d<Flat>(shared, y, parts, x, w, bias, SAME_GEOMETRY, pieces, piece, has_bias, clip, cap);
}

extern "C" __global__ void __launch_bounds__(256, RESIDENT) conv_transpose2d_large(CONV_TRANSPOSE2D) {
    __shared__ __align__(16) ACC shared[Large::SHARED];
    conv_transpose2d<Large>(shared, gx, parts, gy, w, bias, SAME_GEOMETRY, step_h, step_w, leap_h, leap_w, tiles_n, pieces,
        piece, has_bias);
}

extern "C" __global__ void __launch_bounds__(256, RESIDENT) conv_transpose2d_medium(CONV_TRANSPOSE2D) {
    __shared__ __align__(16) ACC shared[Medium::SHARED];
    conv_transpose2d<Medium>(shared, gx, parts, gy, w, bias, SAME_GEOMETRY, step_h, step_w, leap_h, leap_w, tiles_n, pieces,
        piece, has_bias);
}

extern "C" __global__ void __launch_bounds__(256, RESIDENT) conv_transpose2d_flat(CONV_TRANSPOSE2D) {
    __shared__ __align__(16) ACC shared[Flat::SHARED];
    conv_transpose2d<Flat>(shared, gx, parts, gy, w, bias, SAME_GEOMETRY, step_h, step_w, leap_h, leap_w, tiles_n, pieces,
        piece, has_bias);
}

extern "C" __global__ void __launch_bounds__(256, RESIDENT) conv2d_weight_large(CONV2D_WEIGHT) {
    __shared__ __align__(16) ACC shared[Large::SHARED];
    conv2d_weight<Large>(shared, gw, parts, x, gy, SAME_GEOMETRY, pieces, piece);
}

extern "C" __global__ void __launch_bounds__(256, RESIDENT) conv2d_weight_medium(CONV2D_WEIGHT) {
    __shared__ __align__(16) ACC shared[Medium::SHARED];
    conv2d_weight<Medium>(shared, gw, parts, x, gy, SAME_GEOMETRY, pieces, piece);
}

extern "C" __global__ void __launch_bounds__(256, RESIDENT) conv2d_weight_flat(CONV2D_WEIGHT) {
    __shared__ __align__(16) ACC shared[Flat::SHARED];
    conv2d_weight<Flat>(shared, gw, parts, x, gy, SAME_GEOMETRY, pieces, piece);
}
