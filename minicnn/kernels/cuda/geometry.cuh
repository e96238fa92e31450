// The sizes of a convolution, in the order in which conv.py passes them. kernels/window.py says what they mean:
//
//     output (p, q), tap (r, s)  reads  input (p·stride_h + r·dilation_h − top,  q·stride_w + s·dilation_w − left)
//
// images, filters, rows × columns (N, K, P × Q) of outputs; channels, height × width (C, H × W) of images.

#pragma once

#define GEOMETRY                                                                                                       \
    int images, int channels, int height, int width, int filters, int rows, int columns, int taps_h, int taps_w,       \
        int stride_h, int stride_w, int top, int left, int dilation_h, int dilation_w, int groups
#define SAME_GEOMETRY                                                                                                  \
    images, channels, height, width, filters, rows, columns, taps_h, taps_w, stride_h, stride_w, top, left,            \
        dilation_h, dilation_w, groups

// The taps that meet the pixels phase, phase + stride, ... along one axis: count of them, first, first + step, ...; the
// i-th pixel takes what tap first + j·step says from output i + start − j·leap.
// leap = dilation / gcd(stride, dilation) and step = stride / gcd(stride, dilation): step taps on is leap outputs back.
struct Phase {
    int first, count, start;

    __device__ Phase(int phase, int taps, int stride, int before, int dilation, int step) {
        first = 0;
        while (first < step && first < taps && (phase + before - first * dilation) % stride != 0) first++;
        count = first < step && first < taps ? (taps - first - 1) / step + 1 : 0;
        start = (phase + before - first * dilation) / stride;  // exact, if there are taps
    }
};
