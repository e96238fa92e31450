// Activations: one number in, one out, with nothing kept between them.
//
//     x  ──16 bytes──>  registers  ──f──>  16 bytes──>  y        (elementwise.cuh)
//
//     operations   1 (relu) to about 60 (gelu) for each number
//     bytes        8 for each number of float32, 12 where a gradient comes in beside x
//
// NaN stays NaN everywhere: comparisons are written so that it takes the branch that keeps it.
#include "elementwise.cuh"

__device__ __forceinline__ ACC sigmoid_of(ACC x) { return 1 / (1 + exp(-x)); }  // e⁻ˣ = ∞ gives 0

__device__ __forceinline__ ACC clipped(ACC x, ACC low, ACC high) { return x < low ? low : x > high ? high : x; }

// --- steps and lines --------------------------------------------------------------------------------------------------

extern "C" __global__ void relu(REAL* y, const REAL* x, int n) {
    each(y, x, n, [](ACC v) { return relu_of(v); });
}

extern "C" __global__ void relu_mask(REAL* gx, const REAL* g, const REAL* y, int n) {
    each(gx, g, y, n, [](ACC u, ACC v) { return v > 0 ? u : ACC(0); });
}

extern "C" __global__ void relu6(REAL* y, const REAL* x, int n) {
    each(y, x, n, [](ACC v) { return clipped(v, 0, 6); });
}

extern "C" __global__ void hard_sigmoid(REAL* y, const REAL* x, int n) {
    each(y, x, n, [](ACC v) { return clipped(v + 3, 0, 6) / 6; });
}

extern "C" __global__ void clip_mask(REAL* gx, const REAL* g, const REAL* y, ACC low, ACC high, int n) {
    each(gx, g, y, n, [=](ACC u, ACC v) { return low < v && v < high ? u : ACC(0); });
}

extern "C" __global__ void leak(REAL* y, const REAL* g, const REAL* x, const REAL* slope, int n) {
    ACC a = ACC(slope[0]);
    each(y, g, x, n, [=](ACC u, ACC v) { return v > 0 ? u : a * u; });
}

// x (N, channels, inner), one slope for each channel
extern "C" __global__ void leak_channels(
    REAL* y, const REAL* g, const REAL* x, const REAL* slope, int channels, int inner, int n
) {
    for (EACH(i, n)) {
        ACC u = ACC(g[i]);
        y[i] = REAL(ACC(x[i]) > 0 ? u : ACC(slope[i / inner % channels]) * u);
    }
}

extern "C" __global__ void sign(REAL* y, const REAL* x, int n) {
    each(y, x, n, [](ACC v) { return v > 0 ? ACC(1) : v < 0 ? ACC(-1) : v == 0 ? ACC(0) : v; });
}

// --- curves -----------------------------------------------------------------------------------------------------------

extern "C" __global__ void hyperbolic_tangent(REAL* y, const REAL* x, int n) {
    each(y, x, n, [](ACC v) { return tanh(v); });
}

extern "C" __global__ void sigmoid(REAL* y, const REAL* x, int n) {
    each(y, x, n, [](ACC v) { return sigmoid_of(v); });
}

extern "C" __global__ void elu(REAL* y, const REAL* x, ACC alpha, ACC scale, int n) {
    each(y, x, n, [=](ACC v) { return v > 0 ? scale * v : scale * alpha * expm1(v); });
}

extern "C" __global__ void softplus(REAL* y, const REAL* x, ACC beta, ACC threshold, int n) {
    each(y, x, n, [=](ACC v) {
        ACC z = beta * v;
        return z > threshold ? v : ((z < 0 ? ACC(0) : z) + log1p(exp(-fabs(z)))) / beta;
    });
}

// --- gates: f(x) = x·gate(x), and g·f′(x) -----------------------------------------------------------------------------

#define FAR 100  // from here on a gate is open or shut to the last digit, and its slope is 0
#define SQRT_HALF ACC(0.70710678118654752440)
#define DENSITY ACC(0.39894228040143267794)  // 1/√(2π)
#define STEEP ACC(1.59576912160573071176)    // √(8/π)
#define CUBIC ACC(0.044715)

extern "C" __global__ void silu(REAL* y, const REAL* x, int n) {
    each(y, x, n, [](ACC v) { return v * sigmoid_of(v); });
}

extern "C" __global__ void silu_slope(REAL* gx, const REAL* g, const REAL* x, int n) {
    each(gx, g, x, n, [](ACC u, ACC v) {
        ACC s = sigmoid_of(v);
        return u * (s + v * (s * (1 - s)));
    });
}

__device__ __forceinline__ ACC normal(ACC x) { return erfc(-x * SQRT_HALF) / 2; }  // 1 + erf would cancel on the left

extern "C" __global__ void gelu(REAL* y, const REAL* x, int n) {
    each(y, x, n, [](ACC v) { return v * normal(v); });
}

extern "C" __global__ void gelu_slope(REAL* gx, const REAL* g, const REAL* x, int n) {
    each(gx, g, x, n, [](ACC u, ACC v) {
        ACC z = clipped(v, -FAR, FAR);  // beyond, z² would overflow, and z·e^(−z²/2) be ∞·0
        return u * (normal(v) + z * (DENSITY * exp(-z * z / 2)));
    });
}

extern "C" __global__ void gelu_tanh(REAL* y, const REAL* x, int n) {
    each(y, x, n, [](ACC v) { return v * sigmoid_of(STEEP * (v + CUBIC * v * v * v)); });  // ½·(1 + tanh u) = σ(2u)
}

extern "C" __global__ void gelu_tanh_slope(REAL* gx, const REAL* g, const REAL* x, int n) {
    each(gx, g, x, n, [](ACC u, ACC v) {
        ACC z = clipped(v, -FAR, FAR), s = sigmoid_of(STEEP * (z + CUBIC * z * z * z));
        return u * (s + z * (s * (1 - s)) * (STEEP * (1 + 3 * CUBIC * z * z)));
    });
}

extern "C" __global__ void hard_swish(REAL* y, const REAL* x, int n) {
    each(y, x, n, [](ACC v) { return v * (clipped(v + 3, 0, 6) / 6); });
}

extern "C" __global__ void hard_swish_slope(REAL* gx, const REAL* g, const REAL* x, int n) {
    each(gx, g, x, n, [](ACC u, ACC v) { return u * (v >= 3 ? ACC(1) : v <= -3 ? ACC(0) : v / 3 + ACC(0.5)); });
}

// tanh(ln(1 + e)) = ((1 + e)² − 1) / ((1 + e)² + 1) = 1 / (1 + 2/(e² + 2e)), where e = eˣ may be ∞ or 0
__device__ __forceinline__ ACC tanh_softplus(ACC x) {
    ACC e = exp(x);
    return 1 / (1 + 2 / (e * (e + 2)));
}

extern "C" __global__ void mish(REAL* y, const REAL* x, int n) {
    each(y, x, n, [](ACC v) { return v * tanh_softplus(v); });
}

extern "C" __global__ void mish_slope(REAL* gx, const REAL* g, const REAL* x, int n) {
    each(gx, g, x, n, [](ACC u, ACC v) {
        ACC t = tanh_softplus(v);
        return u * (t + v * ((1 - t * t) * sigmoid_of(v)));
    });
}
