// Rows of numbers, each shared by t threads side by side: t is 1, 32 (a warp) or the whole block.
//
//     t = 1            t = 32                       t = 256
//     row 0: thread 0  row 0: threads  0 … 31       row 0: the whole block
//     row 1: thread 1  row 1: threads 32 … 63
//
// One thread where rows are short, or where neighbouring rows lie side by side in memory (a warp then reads what is side
// by side too); a warp or a block where the row itself is what lies side by side.
#pragma once
#include "types.cuh"

#include "common.cuh"

// The group's sum or largest, for all of its threads. `shared` has room for one T of each warp.
template <class T>
__device__ __forceinline__ T group_sum(T x, int t, T* shared) {
    return t == 1 ? x : t == 32 ? warp_sum(x) : block_sum(x, shared);
}

template <class T>
__device__ __forceinline__ T group_max(T x, int t, T* shared) {
    return t == 1 ? x : t == 32 ? warp_max(x) : block_max(x, shared);
}

// for (EACH_ROW(row, rows, t)): the groups of a grid take the rows in turns; with t = blockDim.x whole blocks do
#define EACH_ROW(row, rows, t)                                                                        \
    int row = blockIdx.x * (blockDim.x / (t)) + threadIdx.x / (t); row < (rows);                      \
    row = row < (rows) - int(gridDim.x * (blockDim.x / (t))) ? row + gridDim.x * (blockDim.x / (t)) : (rows)
