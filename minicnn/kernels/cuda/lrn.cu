// Local response norm: each number divided by a power of what its neighbouring channels have at the same pixel.
//
//     x (N, C, pixels): a thread has one pixel and STRIP channels of it, a warp 32 pixels side by side
//
//         channel  c0−before │ c0 … c0+STRIP−1 │ … c0+STRIP−1+after        down the strip each window is read again;
//                      halo  │    outputs      │  halo                     all but its last channel is in the cache
//
// A window is added up afresh each time: a sum that is moved along by one more and one less would gather errors.
//
//     operations   about 2·window + 40 for each number (the power)
//     bytes        8 for each number of float32, and the halo again for each strip; the gradient, in two kernels with
//                  two arrays between them, 28
#include "types.cuh"

#include "common.cuh"

#define STRIP 16

// for (c : the channels of this thread's strip), with `at` where channel 0 of its pixel stands
struct Strip {
    int first, last, pixel;

    __device__ Strip(int thread, int channels, int inner) {
        int strips = (channels + STRIP - 1) / STRIP, image = thread / inner / strips;
        first = thread / inner % strips * STRIP;
        last = min(first + STRIP, channels);
        pixel = image * channels * inner + thread % inner;
    }
};

// Σ x[j] over c − before ≤ j ≤ c + after, of the numbers themselves or of their squares
template <bool SQUARES>
__device__ __forceinline__ ACC window_sum(
    const REAL* x, int pixel, int c, int before, int after, int channels, int inner
) {
    ACC total = 0;
    int last = after < channels - 1 - c ? c + after : channels - 1;
    for (int j = before < c ? c - before : 0; j <= last; j++) {
        ACC v = ACC(x[pixel + j * inner]);
        total += SQUARES ? v * v : v;
    }
    return total;
}

__device__ __forceinline__ ACC inverse_power(ACC s, ACC beta) {  // AlexNet's ¾ is two roots
    return beta == ACC(0.75) ? 1 / (sqrt(s) * sqrt(sqrt(s))) : pow(s, -beta);
}

extern "C" __global__ void channel_sum(
    REAL* y, const REAL* x, int before, int after, int channels, int inner, int threads
) {
    for (EACH(thread, threads)) {
        Strip strip(thread, channels, inner);
        for (int c = strip.first; c < strip.last; c++) {
            y[strip.pixel + c * inner] = REAL(window_sum<false>(x, strip.pixel, c, before, after, channels, inner));
        }
    }
}

extern "C" __global__ void local_response_norm(
    REAL* y, const REAL* x, int before, int after, ACC alpha, ACC beta, ACC k, int channels, int inner, int threads
) {
    for (EACH(thread, threads)) {
        Strip strip(thread, channels, inner);
        for (int c = strip.first; c < strip.last; c++) {
            int i = strip.pixel + c * inner;
            ACC s = k + alpha * window_sum<true>(x, strip.pixel, c, before, after, channels, inner);
            y[i] = REAL(ACC(x[i]) * inverse_power(s, beta));
        }
    }
}

// own = gy·s^−β and through = own·x/s, which the second kernel adds up: over those whose window has this channel
extern "C" __global__ void gradient_terms(
    ACC* own, ACC* through, const REAL* gy, const REAL* x, int before, int after, ACC alpha, ACC beta, ACC k,
    int channels, int inner, int threads
) {
    for (EACH(thread, threads)) {
        Strip strip(thread, channels, inner);
        for (int c = strip.first; c < strip.last; c++) {
            int i = strip.pixel + c * inner;
            ACC s = k + alpha * window_sum<true>(x, strip.pixel, c, before, after, channels, inner);
            own[i] = ACC(gy[i]) * inverse_power(s, beta);
            through[i] = own[i] * ACC(x[i]) / s;
        }
    }
}

extern "C" __global__ void gradient_sums(
    REAL* gx, const ACC* own, const ACC* through, const REAL* x, int before, int after, ACC factor, int channels,
    int inner, int threads
) {
    for (EACH(thread, threads)) {
        Strip strip(thread, channels, inner);
        for (int c = strip.first; c < strip.last; c++) {
            int i = strip.pixel + c * inner;
            ACC others = 0;
            int last = before < channels - 1 - c ? c + before : channels - 1;
            for (int j = after < c ? c - after : 0; j <= last; j++) others += through[strip.pixel + j * inner];
            gx[i] = REAL(own[i] - factor * ACC(x[i]) * others);
        }
    }
}
