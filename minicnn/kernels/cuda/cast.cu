// From 32 bits to 16 and back: what autocast does to every weight and to what passes between ops of two precisions.
//
//     x   | float × 4 | float × 4 |        a thread takes 8 numbers: 32 bytes on one side, 16 on the other
//     y   |      REAL × 8         |
//
//     operations   1 for each number            bytes   6 for each number
#include "elementwise.cuh"

struct __align__(16) Floats {
    float v[4];
};

#define SHARE 8

// A number of SHARE that begins at a multiple of 16 bytes on both sides; the rest goes number by number
__device__ __forceinline__ int whole_shares(const void* a, const void* b, int n) {
    return whole_packs(a, b, b) && sizeof(REAL) == 2 ? n / SHARE : 0;
}

extern "C" __global__ void narrow(REAL* y, const float* x, int n) {
    int shares = whole_shares(y, x, n);
    for (EACH(i, shares)) {
        Floats low = ((const Floats*)x)[2 * i], high = ((const Floats*)x)[2 * i + 1];
        Pack pack;
#pragma unroll
        for (int k = 0; k < PACK; k++) pack.v[k] = REAL(k % SHARE < 4 ? low.v[k % 4] : high.v[k % 4]);
        ((Pack*)y)[i] = pack;
    }
    int done = shares * SHARE;
    for (EACH(i, n - done)) y[done + i] = REAL(x[done + i]);
}

extern "C" __global__ void widen(float* y, const REAL* x, int n) {
    int shares = whole_shares(y, x, n);
    for (EACH(i, shares)) {
        Pack pack = ((const Pack*)x)[i];
        Floats low, high;
#pragma unroll
        for (int k = 0; k < 4; k++) low.v[k] = float(pack.v[k % PACK]), high.v[k] = float(pack.v[(k + 4) % PACK]);
        ((Floats*)y)[2 * i] = low;
        ((Floats*)y)[2 * i + 1] = high;
    }
    int done = shares * SHARE;
    for (EACH(i, n - done)) y[done + i] = float(x[done + i]);
}
