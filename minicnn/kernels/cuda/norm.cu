// Batch norm, both ways, and the standardising of rows.
//
//     x (N, C, pixels): channel c is N stretches of neighbouring numbers
//
//         image 0  | c0 ▒▒▒▒ | c1 ████ | c2 ▒▒▒▒ |        parts     blocks for (channel, slice): moments of c1's
//         image 1  | c0 ▒▒▒▒ | c1 ████ | c2 ▒▒▒▒ |                  stretches, or sums of its gradients
//            ⋮                                            channels  a thread for each channel: the slices together,
//                                                                   and all that the last pass needs of a channel
//                                                         apply     elementwise, 16 bytes at a time
//
// Moments without a second pass over x and without cancellation: a thread takes CHUNK numbers, subtracts the first of
// them, which is one of the data and so not far from them, and adds up d and d² in ACC; then chunks, threads and slices
// are merged in double precision by the formula of Chan, Golub and LeVeque 1979. The rounding error of a variance is
// then about CHUNK·u of itself, whatever the mean; the mean is subtracted from x in two parts, mean = high + low, so
// that no digit of x is lost to it. 1 of 64 additions is in double precision, which GPUs for gaming are slow at.
//
//     operations   forward about 8 for each number, backward 12
//     bytes        forward x twice and y: 12 for each number of float32 (16 with a residual)
//                  backward gy, x and y twice and gx: 28, without an activation 20
#include "elementwise.cuh"
#include "group.cuh"

#define CHUNK 64

// Numbers i = 0, 1, ... of one channel of x (N, C, inner), V of them side by side at a time
template <int V>
struct Channel {
    Divisor inner;
    int channels, c;

    __device__ Channel(int inner, int channels, int c) : inner(inner / V), channels(channels), c(c) {}
    // Where group i of V numbers begins, counted in groups
    __device__ __forceinline__ int at(int i) const {
        int image = inner.of(i);
        return (image * channels + c) * inner.d + (i - image * inner.d);
    }
};

template <int V>
struct __align__(V * sizeof(REAL)) Numbers {
    REAL v[V];
};

template <int V>
__device__ __forceinline__ Numbers<V> load(const REAL* x, int i) {
    return ((const Numbers<V>*)x)[i];
}

// --- moments ----------------------------------------------------------------------------------------------------------

struct Moments {  // of n numbers: their mean, and Σ (x − mean)²
    double n, mean, squares;

    __device__ __forceinline__ void merge(double n2, double mean2, double squares2) {
        if (n2 == 0) return;
        double all = n + n2, apart = mean2 - mean, share = n2 / all;
        mean += apart * share;
        squares += squares2 + apart * apart * n * share;
        n = all;
    }
    // n2 numbers of which pivot was subtracted: the sum of the differences, and of their squares
    __device__ __forceinline__ void merge_chunk(ACC pivot, ACC sum, ACC sum_of_squares, int n2) {
        double part = double(sum) / n2, left = double(sum_of_squares) - part * double(sum);
        merge(n2, double(pivot) + part, left < 0 ? 0 : left);  // below 0 by rounding only; NaN stays
    }
};

// The moments of the whole group, for all its threads
__device__ __forceinline__ Moments over_group(Moments m, int t, double (*shared)[32]) {
    if (t == 1) return m;
    for (int distance = 16; distance > 0; distance >>= 1) {
        double n = __shfl_down_sync(ALL_LANES, m.n, distance);
        double mean = __shfl_down_sync(ALL_LANES, m.mean, distance);
        double squares = __shfl_down_sync(ALL_LANES, m.squares, distance);
        m.merge(n, mean, squares);  // of use in the lower lanes; lane 0 has seen all
    }
    if (t == 32) {
        m.n = __shfl_sync(ALL_LANES, m.n, 0);
        m.mean = __shfl_sync(ALL_LANES, m.mean, 0);
        m.squares = __shfl_sync(ALL_LANES, m.squares, 0);
        return m;
    }
    if (threadIdx.x % 32 == 0) {
        int warp = threadIdx.x / 32;
        shared[0][warp] = m.n, shared[1][warp] = m.mean, shared[2][warp] = m.squares;
    }
    __syncthreads();
    Moments all = {0, 0, 0};
    for (int warp = 0; warp < t / 32; warp++) all.merge(shared[0][warp], shared[1][warp], shared[2][warp]);
    __syncthreads();
    return all;
}

// Of the groups first + lane, + t, ... below last of a channel (or of anything that has at())
template <int V, class Where>
__device__ __forceinline__ Moments moments_of(const REAL* x, Where where, int first, int last, int t) {
    Moments m = {0, 0, 0};
    int i = first;
    while (i < last) {
        int steps = min(CHUNK / V, (last - i + t - 1) / t);
        ACC pivot = ACC(load<V>(x, where.at(i)).v[0]), sum[2] = {0, 0}, squares[2] = {0, 0};
#pragma unroll 4
        for (int step = 0; step < steps; step++) {
            Numbers<V> numbers = load<V>(x, where.at(i + step * t));
#pragma unroll
            for (int v = 0; v < V; v++) {
                ACC d = ACC(numbers.v[v]) - pivot;
                sum[v % 2] += d;
                squares[v % 2] += d * d;
            }
        }
        m.merge_chunk(pivot, sum[0] + sum[1], squares[0] + squares[1], steps * V);
        i = steps * t < last - i ? i + steps * t : last;
    }
    return m;
}

template <int V>
__device__ __forceinline__ void moments_of_channel(
    double* parts, const REAL* x, int channels, int inner, int slices, int per_slice, int groups, double (*shared)[32]
) {
    int c = blockIdx.x / slices, first = blockIdx.x % slices * per_slice, last = min(groups, first + per_slice);
    Moments m = moments_of<V>(x, Channel<V>(inner, channels, c), first + threadIdx.x, last, blockDim.x);
    m = over_group(m, blockDim.x, shared);
    if (threadIdx.x == 0) {
        parts[3 * blockIdx.x] = m.n, parts[3 * blockIdx.x + 1] = m.mean, parts[3 * blockIdx.x + 2] = m.squares;
    }
}

// parts (C, slices, 3); groups: how many groups of numbers a channel has, per_slice how many of them a slice
extern "C" __global__ void moment_parts(
    double* parts, const REAL* x, int channels, int inner, int slices, int per_slice, int groups, int packed
) {
    __shared__ double shared[3][32];
    if (packed) {
        moments_of_channel<PACK>(parts, x, channels, inner, slices, per_slice, groups, shared);
    } else {
        moments_of_channel<1>(parts, x, channels, inner, slices, per_slice, groups, shared);
    }
}

// --- batch norm -------------------------------------------------------------------------------------------------------

struct __align__(4 * sizeof(ACC)) Line {  // y = (x − high − low)·factor + constant
    ACC high, low, factor, constant;
};

// mean and var (C,) from the parts, if there are slices; with them the line of each channel. w and b are read only if
// `weights` has bit 1, or bit 2
extern "C" __global__ void lines(
    Line* line, double* mean, double* var, const double* parts, int slices, const ACC* w, const ACC* b, int weights,
    ACC eps, int channels
) {
    for (EACH(c, channels)) {
        if (slices > 0) {
            Moments m = {0, 0, 0};
            for (int s = 0; s < slices; s++) {
                const double* part = parts + 3 * (c * slices + s);
                m.merge(part[0], part[1], part[2]);
            }
            mean[c] = m.mean, var[c] = m.squares / m.n;
        }
        ACC high = ACC(mean[c]);
        double factor = (weights & 1 ? double(w[c]) : 1.0) / sqrt(var[c] + double(eps));
        line[c] = {high, ACC(mean[c] - double(high)), ACC(factor), weights & 2 ? b[c] : ACC(0)};
    }
}

struct Activation {  // 0: none; 1: clipped to 0 ≤ y ≤ cap
    int on;
    ACC cap;
    __device__ __forceinline__ ACC of(ACC y) const { return on ? at_most(relu_of(y), cap) : y; }
    __device__ __forceinline__ ACC masked(ACC g, ACC y) const { return 0 < y && y < cap ? g : ACC(0); }
};

template <int V>
__device__ __forceinline__ void along_lines(
    REAL* y, const REAL* x, const REAL* residual, int add, const Line* lines, Activation f, int channels, int inner,
    int groups
) {
    Divisor stretch(inner / V), images(channels);
    for (EACH(i, groups)) {
        int row = stretch.of(i);
        Line line = lines[row - images.of(row) * channels];
        Numbers<V> numbers = load<V>(x, i), other = numbers;
        if (add) other = load<V>(residual, i);
#pragma unroll
        for (int v = 0; v < V; v++) {
            ACC z = ((ACC(numbers.v[v]) - line.high) - line.low) * line.factor + line.constant;
            if (add) z += ACC(other.v[v]);
            numbers.v[v] = REAL(f.of(z));
        }
        ((Numbers<V>*)y)[i] = numbers;
    }
}

extern "C" __global__ void batch_norm(
    REAL* y, const REAL* x, const REAL* residual, int add, const Line* lines, int clip, ACC cap, int channels,
    int inner, int groups, int packed
) {
    Activation f = {clip, cap};
    if (packed) {
        along_lines<PACK>(y, x, residual, add, lines, f, channels, inner, groups);
    } else {
        along_lines<1>(y, x, residual, add, lines, f, channels, inner, groups);
    }
}

// --- its gradient -----------------------------------------------------------------------------------------------------
// With g what of gy comes through the activation and d = x − mean:  Σ g and Σ g·d  are all that the batch has to say.

template <int V>
__device__ __forceinline__ void gradient_sums(
    double* parts, const REAL* gy, const REAL* x, const REAL* y, Activation f, double mean, int channels, int inner,
    int slices, int per_slice, int groups, double* shared
) {
    int c = blockIdx.x / slices, first = blockIdx.x % slices * per_slice, last = min(groups, first + per_slice);
    ACC high = ACC(mean), low = ACC(mean - double(high));
    Channel<V> where(inner, channels, c);
    double total = 0, total_d = 0;
    int i = first + threadIdx.x, t = blockDim.x;
    while (i < last) {
        int steps = min(CHUNK / V, (last - i + t - 1) / t);
        ACC sum[2] = {0, 0}, sum_d[2] = {0, 0};
#pragma unroll 2
        for (int step = 0; step < steps; step++) {
            int at = where.at(i + step * t);
            Numbers<V> g = load<V>(gy, at), numbers = load<V>(x, at), result = g;
            if (f.on) result = load<V>(y, at);
#pragma unroll
            for (int v = 0; v < V; v++) {
                ACC own = f.on ? f.masked(ACC(g.v[v]), ACC(result.v[v])) : ACC(g.v[v]);
                sum[v % 2] += own;
                sum_d[v % 2] += own * ((ACC(numbers.v[v]) - high) - low);
            }
        }
        total += double(sum[0] + sum[1]);
        total_d += double(sum_d[0] + sum_d[1]);
        i = steps * t < last - i ? i + steps * t : last;
    }
    total = block_sum(total, shared);
    total_d = block_sum(total_d, shared);
    if (threadIdx.x == 0) parts[2 * blockIdx.x] = total, parts[2 * blockIdx.x + 1] = total_d;
}

// parts (C, slices, 2)
extern "C" __global__ void gradient_parts(
    double* parts, const REAL* gy, const REAL* x, const REAL* y, int clip, ACC cap, const double* mean, int channels,
    int inner, int slices, int per_slice, int groups, int packed
) {
    __shared__ double shared[32];
    Activation f = {clip, cap};
    double m = mean[blockIdx.x / slices];
    if (packed) {
        gradient_sums<PACK>(parts, gy, x, y, f, m, channels, inner, slices, per_slice, groups, shared);
    } else {
        gradient_sums<1>(parts, gy, x, y, f, m, channels, inner, slices, per_slice, groups, shared);
    }
}

struct Slope {  // gx = (g − constant − (x − high − low)·tilt)·factor
    ACC high, low, constant, tilt, factor;
};

extern "C" __global__ void slopes(
    Slope* slope, ACC* gw, ACC* gb, const double* parts, int slices, const double* mean, const double* var,
    const ACC* w, int weights, ACC eps, int count, int channels
) {
    for (EACH(c, channels)) {
        double total = 0, total_d = 0;
        for (int s = 0; s < slices; s++) {
            total += parts[2 * (c * slices + s)];
            total_d += parts[2 * (c * slices + s) + 1];
        }
        double inv_std = 1 / sqrt(var[c] + double(eps));
        ACC high = ACC(mean[c]);
        double factor = (weights & 1 ? double(w[c]) : 1.0) * inv_std;
        ACC constant = ACC(total / count), tilt = ACC(total_d * inv_std * inv_std / count);
        slope[c] = {high, ACC(mean[c] - double(high)), constant, tilt, ACC(factor)};
        gw[c] = ACC(total_d * inv_std), gb[c] = ACC(total);
    }
}

template <int V>
__device__ __forceinline__ void along_slopes(
    REAL* gx, const REAL* gy, const REAL* x, const REAL* y, Activation f, const Slope* slopes, int channels, int inner,
    int groups
) {
    Divisor stretch(inner / V), images(channels);
    for (EACH(i, groups)) {
        int row = stretch.of(i);
        Slope slope = slopes[row - images.of(row) * channels];
        Numbers<V> g = load<V>(gy, i), numbers = load<V>(x, i), result = g;
        if (f.on) result = load<V>(y, i);
#pragma unroll
        for (int v = 0; v < V; v++) {
            ACC own = f.on ? f.masked(ACC(g.v[v]), ACC(result.v[v])) : ACC(g.v[v]);
            ACC d = (ACC(numbers.v[v]) - slope.high) - slope.low;
            g.v[v] = REAL((own - slope.constant - d * slope.tilt) * slope.factor);
        }
        ((Numbers<V>*)gx)[i] = g;
    }
}

extern "C" __global__ void batch_norm_gradient(
    REAL* gx, const REAL* gy, const REAL* x, const REAL* y, int clip, ACC cap, const Slope* slopes, int channels,
    int inner, int groups, int packed
) {
    Activation f = {clip, cap};
    if (packed) {
        along_slopes<PACK>(gx, gy, x, y, f, slopes, channels, inner, groups);
    } else {
        along_slopes<1>(gx, gy, x, y, f, slopes, channels, inner, groups);
    }
}

// --- running statistics -----------------------------------------------------------------------------------------------

extern "C" __global__ void track_statistics(
    REAL* running_mean, REAL* running_var, const double* mean, const double* var, ACC kept, ACC momentum, ACC unbiased,
    int channels
) {
    for (EACH(c, channels)) {
        running_mean[c] = REAL(ACC(kept * ACC(running_mean[c]) + momentum * mean[c]));
        running_var[c] = REAL(ACC(kept * ACC(running_var[c]) + momentum * (var[c] * unbiased)));
    }
}

// --- rows -------------------------------------------------------------------------------------------------------------

struct Stretch {  // numbers that stand side by side
    int start;
    __device__ __forceinline__ int at(int i) const { return start + i; }
};

// x (rows, n) -> x_hat (rows, n), inv_std (rows,)
extern "C" __global__ void standardize(REAL* x_hat, REAL* inv_std, const REAL* x, ACC eps, int rows, int n, int t) {
    __shared__ double shared[3][32];
    int lane = threadIdx.x % t;
    for (EACH_ROW(row, rows, t)) {
        Stretch where = {row * n};
        Moments m = over_group(moments_of<1>(x, where, lane, n, t), t, shared);
        ACC high = ACC(m.mean), low = ACC(m.mean - double(high));
        ACC factor = ACC(1 / sqrt(m.squares / n + double(eps)));
        for (int i = lane; i < n; i += t) {
            x_hat[where.at(i)] = REAL(((ACC(x[where.at(i)]) - high) - low) * factor);
        }
        if (lane == 0) inv_std[row] = REAL(factor);
    }
}
