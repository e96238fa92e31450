// Loops over arrays, 16 bytes at a time where all of them begin at a multiple of 16 bytes.
//
//     x   |pack 0 |pack 1 |pack 2 | ... |tail|        a thread takes every (number of threads)-th pack, so that a warp
//          t0      t1      t2                         reads 512 bytes side by side; the tail goes number by number
//
// f gets ACC and gives ACC: what is stored narrow is computed wide.
#pragma once
#include "types.cuh"

#include "common.cuh"

#define PACK int(16 / sizeof(REAL))

struct __align__(16) Pack {
    REAL v[PACK];
};

__device__ __forceinline__ bool whole_packs(const void* a, const void* b, const void* c) {
    return (((size_t)a | (size_t)b | (size_t)c) & 15) == 0;
}

// y[i] = f(a[i])
template <class F>
__device__ __forceinline__ void each(REAL* y, const REAL* a, int n, F f) {
    int packs = whole_packs(y, a, a) ? n / PACK : 0;
    for (EACH(p, packs)) {
        Pack pack = ((const Pack*)a)[p];
#pragma unroll
        for (int k = 0; k < PACK; k++) pack.v[k] = REAL(f(ACC(pack.v[k])));
        ((Pack*)y)[p] = pack;
    }
    int done = packs * PACK;
    for (EACH(i, n - done)) y[done + i] = REAL(f(ACC(a[done + i])));
}

// y[i] = f(a[i], b[i])
template <class F>
__device__ __forceinline__ void each(REAL* y, const REAL* a, const REAL* b, int n, F f) {
    int packs = whole_packs(y, a, b) ? n / PACK : 0;
    for (EACH(p, packs)) {
        Pack pack = ((const Pack*)a)[p], other = ((const Pack*)b)[p];
#pragma unroll
        for (int k = 0; k < PACK; k++) pack.v[k] = REAL(f(ACC(pack.v[k]), ACC(other.v[k])));
        ((Pack*)y)[p] = pack;
    }
    int done = packs * PACK;
    for (EACH(i, n - done)) y[done + i] = REAL(f(ACC(a[done + i]), ACC(b[done + i])));
}
