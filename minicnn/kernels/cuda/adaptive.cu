// Adaptive pooling: bins that cover the image, as even as whole numbers allow. Bin o of `outputs` along `size` elements is
//
//     ⌊o·size / outputs⌋ ≤ i < ⌈(o + 1)·size / outputs⌉        size 7, outputs 3:   ├─0─────┤
//                                                                                       ├─1─────┤
//     turned around, element i is in the bins                                               ├─2─────┤
//                                                                                   0   1   2   3   4   5   6
//     ⌊i·outputs / size⌋ ≤ o ≤ ⌈(i + 1)·outputs / size⌉ − 1
//
// so the gradient gathers. A large bin (the global mean of an image) has a warp, whose lanes read side by side:
//
//     ░░░░░░░░ ░░░░░░░░ ░░░    lane l reads elements l, l + 32, ... and the butterfly adds up; a small bin has a thread
//
//     operations   one for each element of each bin
//     bytes        x and y once: memory decides

#include "common.cuh"

__device__ __forceinline__ int start_of(int o, int size, int outputs) { return int((long long)o * size / outputs); }
__device__ __forceinline__ int end_of(int o, int size, int outputs) {
    return int(((long long)(o + 1) * size + outputs - 1) / outputs);
}

// lanes: 1 or 32 threads for each output
extern "C" __global__ void adaptive_avg(REAL* y, const REAL* x, int planes, int height, int width, int rows,
                                        int columns, int lanes) {
    for (EACH(i, planes * rows * columns * lanes)) {  // with 32, whole warps
        int output = i / lanes, q = output % columns, p = output / columns % rows;
        const REAL* plane = x + output / columns / rows * height * width;
        int top = start_of(p, height, rows), bottom = end_of(p, height, rows);
        int left = start_of(q, width, columns), across = end_of(q, width, columns) - left;
        int area = (bottom - top) * across;
        ACC sum = 0;
        for (int k = i % lanes; k < area; k += lanes) sum += ACC(plane[(top + k / across) * width + left + k % across]);
        if (lanes == 32) sum = warp_sum(sum);
        if (i % lanes == 0) y[output] = REAL(sum / ACC(area));
    }
}

extern "C" __global__ void adaptive_avg_transpose(REAL* gx, const REAL* gy, int planes, int height, int width, int rows,
                                                  int columns) {
    for (EACH(i, planes * height * width)) {
        int v = i % width, h = i / width % height;
        const REAL* plane = gy + i / width / height * rows * columns;
        ACC sum = 0;
        for (int p = start_of(h, rows, height); p < end_of(h, rows, height); p++) {
            int down = end_of(p, height, rows) - start_of(p, height, rows);
            for (int q = start_of(v, columns, width); q < end_of(v, columns, width); q++) {
                int across = end_of(q, width, columns) - start_of(q, width, columns);
                sum += ACC(plane[p * columns + q]) / ACC(down * across);
            }
        }
        gx[i] = REAL(sum);
    }
}

extern "C" __global__ void adaptive_max(REAL* y, int* indices, const REAL* x, int planes, int height, int width,
                                        int rows, int columns) {
    for (EACH(i, planes * rows * columns)) {
        int q = i % columns, p = i / columns % rows;
        const REAL* plane = x + i / columns / rows * height * width;
        ACC best = 0;
        int winner = -1;
        for (int h = start_of(p, height, rows); h < end_of(p, height, rows); h++)
            for (int v = start_of(q, width, columns); v < end_of(q, width, columns); v++) {
                ACC value = ACC(plane[h * width + v]);
                if (winner < 0 || value > best || (is_nan(value) && !is_nan(best))) best = value, winner = h * width + v;
            }
        y[i] = REAL(best);
        indices[i] = winner;
    }
}
