// Grouped convolution with few channels in a group, depthwise above all: a tile of conv.cu would be mostly empty, so here
// a thread computes outputs one after the other, straight from the formula.
//
//     one plane of x                   a thread has a column of 4 outputs of one filter, so that a number of w that it
//     ┌───────────────────┐            has loaded serves 4 times; a warp has 32 columns side by side: what it reads of
//     │ ░░░▓▓▓            │            x and writes of y is contiguous. Windows overlap: x is read R·S times, of that
//     │ ░░░▓▓▓  a warp:   │            once from DRAM and the rest from L1.
//     │ ░░░▓▓▓  → → →     │
//     └───────────────────┘            The gradient in x gathers: a thread has a pixel, and looks for the outputs that
//                                      read it. That in w: a block has 9 taps of a filter and a piece of the images.
//
//     operations   2·N·P·Q·K·C/groups·R·S
//     bytes        (x + y + w)·sizeof(REAL): with 9 taps 2 operations a byte, so memory decides

#include "common.cuh"
#include "geometry.cuh"

#define COLUMN 4  // outputs of a thread

// TAPS_H, TAPS_W: known when compiled, so that the loops unroll; or 0
template <int TAPS_H, int TAPS_W>
__device__ __forceinline__ void direct_conv2d(REAL* y, const REAL* x, const REAL* w, const REAL* bias, GEOMETRY,
                                              int has_bias, int clip, ACC cap) {
    if (TAPS_H > 0) taps_h = TAPS_H, taps_w = TAPS_W;
    int group_channels = channels / groups, group_filters = filters / groups, strips = div_up(rows, COLUMN);
    for (EACH(i, images * filters * strips * columns)) {
        int q = i % columns, p = i / columns % strips * COLUMN, plane = i / columns / strips, filter = plane % filters;
        const REAL* from = x + (plane / filters * channels + filter / group_filters * group_channels) * height * width;
        const REAL* weight = w + filter * group_channels * taps_h * taps_w;
        ACC sum[COLUMN] = {};
        for (int channel = 0; channel < group_channels; channel++) {
#pragma unroll
            for (int r = 0; r < taps_h; r++)
#pragma unroll
                for (int s = 0; s < taps_w; s++) {
                    ACC factor = ACC(weight[(channel * taps_h + r) * taps_w + s]);
                    int h = p * stride_h + r * dilation_h - top, v = q * stride_w + s * dilation_w - left;
                    if (v < 0 || v >= width) continue;
#pragma unroll
                    for (int j = 0; j < COLUMN; j++, h += stride_h)
                        if (h >= 0 && h < height && p + j < rows)
                            sum[j] += factor * ACC(from[(channel * height + h) * width + v]);
                }
        }
#pragma unroll
        for (int j = 0; j < COLUMN; j++)
            if (p + j < rows) {
                ACC value = has_bias ? sum[j] + ACC(bias[filter]) : sum[j];
                if (clip > 0) value = relu_of(value);
                if (clip > 1) value = at_most(value, cap);
                y[(plane * rows + p + j) * columns + q] = REAL(value);
            }
    }
}

#define CONV2D REAL *y, const REAL *x, const REAL *w, const REAL *bias, GEOMETRY, int has_bias, int clip, ACC cap

extern "C" __global__ void direct_conv2d_any(CONV2D) {
    direct_conv2d<0, 0>(y, x, w, bias, SAME_GEOMETRY, has_bias, clip, cap);
}

extern "C" __global__ void direct_conv2d_3x3(CONV2D) {
    direct_conv2d<3, 3>(y, x, w, bias, SAME_GEOMETRY, has_bias, clip, cap);
}

// The output along one axis whose window has the tap that reads `at` (with padding, less the tap's distance), or −1.
__device__ __forceinline__ int output_of(int at, int stride, int outputs) {
    if (at < 0) return -1;
    int output = stride == 1 ? at : at / stride;
    return output < outputs && output * stride == at ? output : -1;
}

template <int TAPS_H, int TAPS_W>
__device__ __forceinline__ void direct_conv_transpose2d(REAL* gx, const REAL* gy, const REAL* w, const REAL* bias,
                                                        GEOMETRY, int has_bias) {
    if (TAPS_H > 0) taps_h = TAPS_H, taps_w = TAPS_W;
    int group_channels = channels / groups, group_filters = filters / groups;
    for (EACH(i, images * channels * height * width)) {
        int v = i % width, h = i / width % height, plane = i / width / height, channel = plane % channels;
        int group = channel / group_channels, first = group * group_filters;
        const REAL* from = gy + (plane / channels * filters + first) * rows * columns;
        const REAL* weight = w + (first * group_channels + channel % group_channels) * taps_h * taps_w;
        ACC sum = 0;
#pragma unroll
        for (int r = 0; r < taps_h; r++) {
            int p = output_of(h + top - r * dilation_h, stride_h, rows);
            if (p < 0) continue;
#pragma unroll
            for (int s = 0; s < taps_w; s++) {
                int q = output_of(v + left - s * dilation_w, stride_w, columns);
                if (q < 0) continue;
                for (int filter = 0; filter < group_filters; filter++)
                    sum += ACC(from[(filter * rows + p) * columns + q]) *
                           ACC(weight[(filter * group_channels * taps_h + r) * taps_w + s]);
            }
        }
        gx[i] = REAL(has_bias ? sum + ACC(bias[channel]) : sum);
    }
}

#define CONV_TRANSPOSE2D REAL *gx, const REAL *gy, const REAL *w, const REAL *bias, GEOMETRY, int has_bias

extern "C" __global__ void direct_conv_transpose2d_any(CONV_TRANSPOSE2D) {
    direct_conv_transpose2d<0, 0>(gx, gy, w, bias, SAME_GEOMETRY, has_bias);
}

extern "C" __global__ void direct_conv_transpose2d_3x3(CONV_TRANSPOSE2D) {
    direct_conv_transpose2d<3, 3>(gx, gy, w, bias, SAME_GEOMETRY, has_bias);
}

#define TOGETHER 9  // taps of a block

extern "C" __global__ void __launch_bounds__(256) direct_conv2d_weight(REAL* gw, ACC* parts, const REAL* x,
                                                                       const REAL* gy, GEOMETRY, int pieces,
                                                                       int piece) {
    __shared__ ACC warps[8];
    int group_channels = channels / groups, group_filters = filters / groups, places = rows * columns;
    int taps = group_channels * taps_h * taps_w, chunks = div_up(taps, TOGETHER);
    int chunk = blockIdx.x % chunks * TOGETHER, filter = blockIdx.x / chunks % filters;
    int part = blockIdx.x / chunks / filters, first = part * piece, last = min(images * places, first + piece);
    int offset[TOGETHER], down[TOGETHER], along[TOGETHER];
#pragma unroll
    for (int t = 0; t < TOGETHER; t++) {
        int tap = min(chunk + t, taps - 1), channel = tap / taps_w / taps_h;
        offset[t] = (filter / group_filters * group_channels + channel) * height * width;
        down[t] = tap / taps_w % taps_h * dilation_h, along[t] = tap % taps_w * dilation_w;
    }
    Divisor by_places(places), by_columns(columns);
    ACC sum[TOGETHER] = {};
    for (int k = first + threadIdx.x; k < last; k += 256) {
        int image = by_places.of(k), place = k - image * places, p = by_columns.of(place), q = place - p * columns;
        int top_h = p * stride_h - top, left_w = q * stride_w - left, from = image * channels * height * width;
        ACC g = ACC(gy[(image * filters + filter) * places + place]);
#pragma unroll
        for (int t = 0; t < TOGETHER; t++) {
            int h = top_h + down[t], v = left_w + along[t];
            if (h >= 0 && h < height && v >= 0 && v < width) sum[t] += g * ACC(x[from + offset[t] + h * width + v]);
        }
    }
#pragma unroll
    for (int t = 0; t < TOGETHER; t++) {
        ACC total = block_sum(sum[t], warps);
        int to = filter * taps + chunk + t;
        if (threadIdx.x > 0 || chunk + t >= taps) continue;
        if (pieces > 1)
            parts[part * filters * taps + to] = total;
        else
            gw[to] = REAL(total);
    }
}
