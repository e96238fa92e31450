// Optimizer steps: all parameters of a group in one launch, each number read once and written once.
//
//     table    one row for each array: where it, its gradient and its averages lie, how many numbers, its first block
//
//     blocks   | 0 1 2 … 17 | 18 | 19 | 20 … 91 | …          a block has CHUNK numbers of one array, which it finds by
//     arrays   | conv1.w     | b  | …  | conv2.w | …          bisection in the column of first blocks
//
// Rates and factors are read from the device too: a CUDA graph that has recorded a step is given others by writing them.
//
//     operations   2 to 12 for each number
//     bytes        of float32: SGD p and g read, p written, 12; with momentum v too, 20; Adam p, g, m, s, 28
#include "types.cuh"

#include "common.cuh"

#define CHUNK 4096
#define VECTOR (16 / int(sizeof(REAL)))

struct Row {
    REAL *p, *g, *first, *second;  // first: velocity, or running mean or square; second: running square, or velocity
    long long size, block, fresh;
};

struct __align__(16) Pack {
    REAL v[VECTOR];
};

// The row whose blocks include this one: the last whose first block is not after it
__device__ __forceinline__ const Row* row_of_block(const Row* rows, int count) {
    int low = 0, high = count - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (rows[middle].block <= blockIdx.x) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return rows + low;
}

__device__ __forceinline__ bool begins_whole(const REAL* a) { return ((size_t)a & 15) == 0; }

// The numbers of this block through f(p, g, first, second), which changes all but g; arrays that are null are passed by
template <class F>
__device__ __forceinline__ void update(const Row& row, F f) {
    long long start = (blockIdx.x - row.block) * CHUNK;
    int n = int(min((long long)CHUNK, row.size - start));
    REAL *p = row.p + start, *g = row.g + start;
    REAL* first = row.first ? row.first + start : nullptr;
    REAL* second = row.second ? row.second + start : nullptr;
    bool whole = begins_whole(p) && begins_whole(g) && begins_whole(first) && begins_whole(second);
    int packs = whole ? n / VECTOR : 0;
    for (int i = threadIdx.x; i < packs; i += blockDim.x) {
        Pack a = ((Pack*)p)[i], b = ((const Pack*)g)[i], c = b, d = b;
        if (first) c = ((Pack*)first)[i];
        if (second) d = ((Pack*)second)[i];
#pragma unroll
        for (int k = 0; k < VECTOR; k++) {
            ACC own = ACC(a.v[k]), one = ACC(c.v[k]), two = ACC(d.v[k]);
            f(own, ACC(b.v[k]), one, two);
            a.v[k] = REAL(own), c.v[k] = REAL(one), d.v[k] = REAL(two);
        }
        ((Pack*)p)[i] = a;
        if (first) ((Pack*)first)[i] = c;
        if (second) ((Pack*)second)[i] = d;
    }
    for (int i = packs * VECTOR + threadIdx.x; i < n; i += blockDim.x) {
        ACC own = ACC(p[i]), one = first ? ACC(first[i]) : ACC(0), two = second ? ACC(second[i]) : ACC(0);
        f(own, ACC(g[i]), one, two);
        p[i] = REAL(own);
        if (first) first[i] = REAL(one);
        if (second) second[i] = REAL(two);
    }
}

// numbers: lr, momentum, 1 − dampening, weight decay
extern "C" __global__ void sgd_step(const long long* table, const ACC* numbers, int nesterov, int count) {
    const Row row = *row_of_block((const Row*)table, count);
    ACC lr = numbers[0], momentum = row.fresh ? ACC(0) : numbers[1], taken = row.fresh ? ACC(1) : numbers[2];
    ACC decay = numbers[3], ahead = numbers[1];
    bool with_velocity = row.first != nullptr;
    update(row, [=](ACC& p, ACC g, ACC& velocity, ACC&) {
        if (decay != 0) g += decay * p;  // 0 · ∞ would be NaN
        if (with_velocity) {
            velocity = momentum * velocity + taken * g;
            g = nesterov ? g + ahead * velocity : velocity;
        }
        p -= lr * g;
    });
}

// numbers: lr, β₁, 1 − β₁, β₂, 1 − β₂, ε, weight decay; then for each array 1 − β₁ᵗ and 1 − β₂ᵗ
extern "C" __global__ void adam_step(const long long* table, const ACC* numbers, int decoupled, int count) {
    const Row* rows = (const Row*)table;
    const Row* mine = row_of_block(rows, count);
    const Row row = *mine;
    const ACC* bias = numbers + 7 + 2 * (mine - rows);
    ACC lr = numbers[0], keep1 = numbers[1], take1 = numbers[2], keep2 = numbers[3], take2 = numbers[4];
    ACC eps = numbers[5], decay = numbers[6], bias1 = bias[0], bias2 = bias[1];
    update(row, [=](ACC& p, ACC g, ACC& mean, ACC& square) {
        if (decay != 0 && decoupled) {
            p *= 1 - lr * decay;
        } else if (decay != 0) {  // 0 · ∞ would be NaN
            g += decay * p;
        }
        mean = keep1 * mean + take1 * g;
        square = keep2 * square + take2 * g * g;
        p -= lr * (mean / bias1) / (sqrt(square / bias2) + eps);
    });
}

// numbers: lr, α, 1 − α, ε, momentum, weight decay
extern "C" __global__ void rmsprop_step(const long long* table, const ACC* numbers, int tensorflow, int count) {
    const Row row = *row_of_block((const Row*)table, count);
    ACC lr = numbers[0], keep = numbers[1], take = numbers[2], eps = numbers[3], momentum = numbers[4];
    ACC decay = numbers[5];
    bool with_velocity = row.second != nullptr;
    update(row, [=](ACC& p, ACC g, ACC& square, ACC& velocity) {
        if (decay != 0) g += decay * p;
        square = keep * square + take * g * g;
        ACC step = g / (tensorflow ? sqrt(square + eps) : sqrt(square) + eps);
        if (tensorflow) step *= lr;
        if (with_velocity) step = velocity = momentum * velocity + step;
        p -= tensorflow ? step : lr * step;
    });
}

// --- the gradients of a scaled loss -----------------------------------------------------------------------------------

// Every p times numbers[0]; finite[b]: whether all results of block b are
extern "C" __global__ void unscale(const long long* table, const ACC* numbers, bool* finite, int count) {
    const Row row = *row_of_block((const Row*)table, count);
    ACC factor = numbers[0];
    bool own = true;
    update(row, [&](ACC& p, ACC, ACC&, ACC&) {
        p *= factor;
        own = own && ACC(REAL(p)) - ACC(REAL(p)) == 0;  // ∞ − ∞ is NaN; and what is stored may be ∞ where p is not
    });
    bool all = __syncthreads_and(own);
    if (threadIdx.x == 0) finite[blockIdx.x] = all;
}

// One block
extern "C" __global__ void all_of(bool* result, const bool* finite, int n) {
    bool own = true;
    for (int i = threadIdx.x; i < n; i += blockDim.x) own = own && finite[i];
    bool all = __syncthreads_and(own);
    if (threadIdx.x == 0) result[0] = all;
}
