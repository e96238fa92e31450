// Losses of each number by itself.
//
//     x, t  ──>  registers  ──>  loss        elementwise, see elementwise.cuh
//
//     operations   about 60 for each number (two logarithms, two exponentials)
//     bytes        12 for each number of float32
#include "elementwise.cuh"

// ln(1 + eˣ), as max(x, 0) + ln(1 + e^−|x|): neither overflows, nor loses what is small
__device__ __forceinline__ ACC softplus_of(ACC x) { return (x > 0 ? x : ACC(0)) + log1p(exp(-fabs(x))); }

extern "C" __global__ void binary_cross_entropy(REAL* y, const REAL* x, const REAL* t, int n) {
    each(y, x, t, n, [](ACC v, ACC yes) { return yes * softplus_of(-v) + (1 - yes) * softplus_of(v); });
}

extern "C" __global__ void weighted_binary_cross_entropy(
    REAL* y, const REAL* x, const REAL* t, const REAL* pos_weight, int n
) {
    for (EACH(i, n)) {
        ACC v = ACC(x[i]), yes = ACC(t[i]);
        y[i] = REAL(ACC(pos_weight[i]) * yes * softplus_of(-v) + (1 - yes) * softplus_of(v));
    }
}

extern "C" __global__ void sigmoid_focal_loss(
    REAL* y, const REAL* x, const bool* yes, ACC alpha_yes, ACC alpha_no, ACC gamma, int n
) {
    for (EACH(i, n)) {
        ACC z = yes[i] ? ACC(x[i]) : -ACC(x[i]);
        y[i] = REAL((yes[i] ? alpha_yes : alpha_no) * exp(-gamma * softplus_of(z)) * softplus_of(-z));
    }
}

extern "C" __global__ void smooth_l1(REAL* y, const REAL* d, ACC beta, int n) {
    each(y, d, n, [=](ACC v) {
        ACC size = fabs(v), bent = at_most(size, beta);  // |d|, or β where the line begins
        return bent / beta * (size - bent / 2);
    });
}
