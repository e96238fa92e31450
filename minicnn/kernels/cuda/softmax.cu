// Softmax along an axis, and the losses of classes that are made of it.
//
//     x (outer, n, inner): row j is x[j / inner, :, j % inner]
//
//     inner = 1   a warp or a block for each row       | row 0: t0 t1 … t31 t0 t1 … | row 1: …
//     inner > 1   a thread for each row: neighbours read what lies side by side, inner numbers apart down the row
//
// A row is read three times, for its maximum, for Σ e^(x − max) and for what is asked; the second and third time it
// comes from the cache. Fused losses write one number for each row instead of n.
//
//     operations   about 20 for each number (an exponential, twice)
//     bytes        8 for each number of float32; 4 for the losses
#include "group.cuh"

// Where the numbers of a row stand, and who of its group this thread is
struct Row {
    int start, step, n, t, lane;
    ACC* shared;

    __device__ Row(int row, int n, int inner, int t, ACC* shared)
        : start(row / inner * n * inner + row % inner), step(inner), n(n), t(t), lane(threadIdx.x % t), shared(shared) {}
    __device__ __forceinline__ int at(int c) const { return start + c * step; }

    __device__ __forceinline__ ACC largest(const REAL* x) const {
        ACC m = -infinity();
        for (int c = lane; c < n; c += t) m = max_of(m, ACC(x[at(c)]));
        return group_max(m, t, shared);
    }
    __device__ __forceinline__ ACC sum_of_exponentials(const REAL* x, ACC m) const {
        ACC total = 0;
        for (int c = lane; c < n; c += t) total += exp(ACC(x[at(c)]) - m);
        return group_sum(total, t, shared);  // NaN if there is one, whatever the maximum was
    }
    __device__ __forceinline__ static ACC max_of(ACC a, ACC b) { return b > a ? b : a; }
};

extern "C" __global__ void softmax(REAL* y, const REAL* x, int rows, int n, int inner, int t) {
    __shared__ ACC shared[32];
    for (EACH_ROW(j, rows, t)) {
        Row row(j, n, inner, t, shared);
        ACC m = row.largest(x), total = row.sum_of_exponentials(x, m);
        for (int c = row.lane; c < n; c += t) y[row.at(c)] = REAL(exp(ACC(x[row.at(c)]) - m) / total);
    }
}

extern "C" __global__ void log_softmax(REAL* y, const REAL* x, int rows, int n, int inner, int t) {
    __shared__ ACC shared[32];
    for (EACH_ROW(j, rows, t)) {
        Row row(j, n, inner, t, shared);
        ACC m = row.largest(x), rest = log(row.sum_of_exponentials(x, m));
        for (int c = row.lane; c < n; c += t) y[row.at(c)] = REAL((ACC(x[row.at(c)]) - m) - rest);
    }
}

// --- what softmax should be: q ---------------------------------------------------------------------------------------
// q[c] = ε/C·w[c]/divisor, and at the label (1 − ε)·w/divisor more; 0 where the label is negative. w is 1 if there are
// no weights; then `weight` is not read.

struct Targets {
    const REAL* weight;
    int weighted, classes;
    ACC smoothing, divisor;

    __device__ __forceinline__ ACC of(int c, long long label) const {
        ACC w = weighted ? ACC(weight[c]) : ACC(1);
        ACC q = smoothing / classes * w;
        return (c == label ? (1 - smoothing) * w + q : q) / divisor;
    }
};

// −q·x, and 0 · (−∞) is 0
__device__ __forceinline__ ACC loss_of(ACC q, ACC x) { return q == 0 ? ACC(0) : -(q * x); }

extern "C" __global__ void class_targets(
    REAL* q, const long long* labels, const REAL* weight, int weighted, ACC smoothing, ACC divisor, int classes,
    int inner, int n
) {
    Targets targets = {weight, weighted, classes, smoothing, divisor};
    for (EACH(i, n)) {
        long long label = labels[i / inner / classes * inner + i % inner];
        q[i] = REAL(label < 0 ? ACC(0) : targets.of(i / inner % classes, label));
    }
}

// losses (rows,) = −Σ q·x, where x are logarithms already, or (`logits`) become so: x − max − ln Σ
extern "C" __global__ void class_losses(
    ACC* losses, const REAL* x, const long long* labels, const REAL* weight, int weighted, ACC smoothing, ACC divisor,
    int logits, int rows, int classes, int inner, int t
) {
    __shared__ ACC shared[32];
    Targets targets = {weight, weighted, classes, smoothing, divisor};
    for (EACH_ROW(j, rows, t)) {
        Row row(j, classes, inner, t, shared);
        long long label = labels[j];
        ACC m = 0, rest = 0, loss = 0;
        if (logits && label >= 0) {  // the same for all threads of a row
            m = row.largest(x);
            rest = log(row.sum_of_exponentials(x, m));
        }
        if (label >= 0 && smoothing > 0) {
            for (int c = row.lane; c < classes; c += t) {
                loss += loss_of(targets.of(c, label), (ACC(x[row.at(c)]) - m) - rest);
            }
            loss = group_sum(loss, t, shared);
        } else if (label >= 0 && label < classes) {
            loss = loss_of(targets.of(label, label), (ACC(x[row.at(label)]) - m) - rest);
        }
        if (row.lane == 0) losses[j] = loss;
    }
}

// gz = g·(softmax(z)·Σ q − q), g (rows,) or, if `one`, (1,)
extern "C" __global__ void cross_entropy_gradient(
    REAL* gz, const REAL* g, const REAL* z, const long long* labels, const REAL* weight, int weighted, ACC smoothing,
    ACC divisor, int one, int rows, int classes, int inner, int t
) {
    __shared__ ACC shared[32];
    Targets targets = {weight, weighted, classes, smoothing, divisor};
    for (EACH_ROW(j, rows, t)) {
        Row row(j, classes, inner, t, shared);
        long long label = labels[j];
        ACC scale = ACC(g[one ? 0 : j]), m = row.largest(z), total = row.sum_of_exponentials(z, m), all = 0;
        if (label >= 0 && smoothing > 0) {
            for (int c = row.lane; c < classes; c += t) all += targets.of(c, label);
            all = group_sum(all, t, shared);
        } else if (label >= 0 && label < classes) {
            all = targets.of(label, label);
        }
        for (int c = row.lane; c < classes; c += t) {
            ACC q = label < 0 ? ACC(0) : targets.of(c, label);
            gz[row.at(c)] = REAL(scale * (exp(ACC(z[row.at(c)]) - m) / total * all - q));
        }
    }
}
