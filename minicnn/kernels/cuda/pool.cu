// Pooling: a thread has one number of the result, whichever way the gradient runs.
//
//     forward, per output                gradient of a mean, per pixel       gradient of a max: pool.py knows the winners,
//     ┌─────────────┐                    ┌─────────────┐                     not the windows. A block has a strip of a
//     │ ▓▓▓▓▓▓      │ its window,        │  ·          │ the outputs         plane of gx in shared memory:
//     │ ▓▓▓▓▓▓ ──→ y│ row by row         │    ←── gy   │ whose windows
//     │ ▓▓▓▓▓▓      │                    │  ·          │ read it               1 all threads claim the pixel that
//     └─────────────┘                    └─────────────┘                         won their output, atomicMin of numbers
//                                                                              2 the lowest number adds its gy
//     A warp has 32 outputs side by side: strided reads of x that L1           3 those that lost try again
//     makes whole, contiguous writes. Rounds: as many as windows share
//     a winner, one where they do not overlap.                               The claims are whole numbers, so the order
//                                                                            of the sum is that of the outputs: always.
//
//     operations   R·S comparisons or sums for each output (or pixel)
//     bytes        x + y + indices, each once from DRAM: memory decides

#include "common.cuh"

#define WINDOWS                                                                                                        \
    int planes, int height, int width, int rows, int columns, int taps_h, int taps_w, int stride_h, int stride_w,      \
        int top, int left, int dilation_h, int dilation_w

// --- max -------------------------------------------------------------------------------------------------------------

// y and the place of the first maximum of each window; NaN is the largest of all; −∞ and −1 where there is padding only.
// with_relu: of max(x, 0), and −1 where that is not above 0.
extern "C" __global__ void max_pool(REAL* y, int* indices, const REAL* x, WINDOWS, int with_relu) {
    for (EACH(i, planes * rows * columns)) {
        int q = i % columns, p = i / columns % rows;
        const REAL* plane = x + i / columns / rows * height * width;
        ACC best = -infinity();
        int winner = -1;
        for (int r = 0; r < taps_h; r++) {
            int h = p * stride_h + r * dilation_h - top;
            if (h < 0 || h >= height) continue;
            for (int s = 0; s < taps_w; s++) {
                int v = q * stride_w + s * dilation_w - left;
                if (v < 0 || v >= width) continue;
                ACC value = ACC(plane[h * width + v]);
                if (with_relu) value = relu_of(value);
                if (winner < 0 || value > best || (is_nan(value) && !is_nan(best))) best = value, winner = h * width + v;
            }
        }
        y[i] = REAL(best);
        indices[i] = with_relu && !(best > ACC(0)) ? -1 : winner;
    }
}

#define STRIP 3072   // pixels of a block: their sums and claims are 24 KB, in double precision 36
#define EACH_HAS 4   // outputs of a thread at a time
#define NOBODY 2147483647

extern "C" __global__ void __launch_bounds__(256) max_scatter(REAL* gx, const REAL* gy, const int* indices, int outputs,
                                                              int pixels) {
    __shared__ ACC sums[STRIP];
    __shared__ int claims[STRIP];
    int strips = div_up(pixels, STRIP), plane = blockIdx.x / strips, from = blockIdx.x % strips * STRIP;
    int count = min(STRIP, pixels - from);
    gx += plane * pixels + from, gy += plane * outputs, indices += plane * outputs;
    for (int t = threadIdx.x; t < count; t += 256) sums[t] = 0, claims[t] = NOBODY;
    __syncthreads();
    for (int first = threadIdx.x; first - int(threadIdx.x) < outputs; first += 256 * EACH_HAS) {
        int target[EACH_HAS];  // −1: not in this strip, or done
#pragma unroll
        for (int e = 0; e < EACH_HAS; e++) {
            int output = first + e * 256;
            target[e] = output < outputs ? indices[output] : -1;
            target[e] = target[e] >= from && target[e] - from < count ? target[e] - from : -1;
        }
        bool left = true;
        while (left) {
#pragma unroll
            for (int e = 0; e < EACH_HAS; e++)
                if (target[e] >= 0) atomicMin(&claims[target[e]], first + e * 256);
            __syncthreads();
            bool won[EACH_HAS];
#pragma unroll
            for (int e = 0; e < EACH_HAS; e++) {
                won[e] = target[e] >= 0 && claims[target[e]] == first + e * 256;
                if (won[e]) sums[target[e]] += ACC(gy[first + e * 256]);
            }
            __syncthreads();
            left = false;
#pragma unroll
            for (int e = 0; e < EACH_HAS; e++) {
                if (won[e]) claims[target[e]] = NOBODY, target[e] = -1;
                left = left || target[e] >= 0;
            }
            left = __syncthreads_or(left);
        }
    }
    for (int t = threadIdx.x; t < count; t += 256) gx[t] = REAL(sums[t]);
}

// y = x at the indices, 0 where there is none
extern "C" __global__ void max_gather(REAL* y, const REAL* x, const int* indices, int n, int outputs, int pixels) {
    for (EACH(i, n)) {
        int index = indices[i];
        y[i] = index >= 0 && index < pixels ? x[i / outputs * pixels + index] : REAL(0);
    }
}

// --- unpooling -------------------------------------------------------------------------------------------------------

// last[t] = the last output that names pixel t, −1 to begin with. Maxima of whole numbers: the order does not matter.
extern "C" __global__ void last_of_each(int* last, const int* indices, int n, int outputs, int pixels) {
    for (EACH(i, n)) {
        int index = indices[i];
        if (index >= 0 && index < pixels) atomicMax(&last[i / outputs * pixels + index], i % outputs);
    }
}

extern "C" __global__ void unpool(REAL* y, const REAL* x, const int* last, int n, int outputs, int pixels) {
    for (EACH(i, n)) y[i] = last[i] >= 0 ? x[i / pixels * outputs + last[i]] : REAL(0);
}

extern "C" __global__ void uncovered(int* kept, const int* indices, const int* last, int n, int outputs, int pixels) {
    for (EACH(i, n)) {
        int index = indices[i];
        bool stays = index >= 0 && index < pixels && last[i / outputs * pixels + index] == i % outputs;
        kept[i] = stays ? index : -1;
    }
}

// --- mean ------------------------------------------------------------------------------------------------------------

// How many of the places first, first + dilation, ... lie in low ≤ place < high.
__device__ __forceinline__ int covered(int first, int taps, int dilation, int low, int high) {
    int after = min(max(ceil_of(high - first, dilation), 0), taps);
    return after - min(max(ceil_of(low - first, dilation), 0), after);
}

// The divisor of output (p, q): what its window covers of the image and, with padded, of the declared padding
#define COUNT(p, q)                                                                                                    \
    max(1, covered((p) * stride_h - top, taps_h, dilation_h, padded ? -top : 0, height + (padded ? bottom : 0)) *      \
               covered((q) * stride_w - left, taps_w, dilation_w, padded ? -left : 0, width + (padded ? right : 0)))

extern "C" __global__ void avg_pool(REAL* y, const REAL* x, WINDOWS, int bottom, int right, int padded) {
    for (EACH(i, planes * rows * columns)) {
        int q = i % columns, p = i / columns % rows;
        const REAL* plane = x + i / columns / rows * height * width;
        ACC sum = 0;
        for (int r = 0; r < taps_h; r++) {
            int h = p * stride_h + r * dilation_h - top;
            if (h < 0 || h >= height) continue;
            for (int s = 0; s < taps_w; s++) {
                int v = q * stride_w + s * dilation_w - left;
                if (v >= 0 && v < width) sum += ACC(plane[h * width + v]);
            }
        }
        y[i] = REAL(sum / ACC(COUNT(p, q)));
    }
}

extern "C" __global__ void avg_pool_transpose(REAL* gx, const REAL* gy, WINDOWS, int bottom, int right, int padded) {
    for (EACH(i, planes * height * width)) {
        int v = i % width, h = i / width % height;
        const REAL* plane = gy + i / width / height * rows * columns;
        ACC sum = 0;
        for (int r = 0; r < taps_h; r++) {
            int at = h + top - r * dilation_h, p = floor_of(at, stride_h);
            if (p < 0 || p >= rows || p * stride_h != at) continue;
            for (int s = 0; s < taps_w; s++) {
                int along = v + left - s * dilation_w, q = floor_of(along, stride_w);
                if (q < 0 || q >= columns || q * stride_w != along) continue;
                sum += ACC(plane[p * columns + q]) / ACC(COUNT(p, q));
            }
        }
        gx[i] = REAL(sum);
    }
}
