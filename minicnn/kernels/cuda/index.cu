// Gradients of picking: what was read several times gets the sum of what comes back. Sums gather: each place looks up
// what belongs to it, in a fixed order, so no two threads ever write to one place.
//
//     scatter_add   index  2 0 2 1      y[s] = Σ v[m] over the m with index[m] = s
//                   v      a b c d      y = b, d, a + c
//     add_runs      the same for places that have been sorted before (index.py): a group of threads for each place
//
//     operations   scatter_add compares every index with every place along the axis; add_runs adds, no more
//     bytes        12 for each v of float32 (its index has 8 or 4 bytes), 4 for each place
#include "group.cuh"

// y (outer, size, inner) from v and index (outer, count, inner), index along the middle axis
extern "C" __global__ void scatter_add(
    REAL* y, const REAL* v, const long long* index, int size, int count, int inner, int n
) {
    Divisor across(inner), along(size);
    for (EACH(i, n)) {
        int line = across.of(i), image = along.of(line), place = line - image * size;
        int start = image * count * inner + (i - line * inner);
        ACC total = 0;
        for (int m = 0; m < count; m++) {
            if (index[start + m * inner] == place) total += ACC(v[start + m * inner]);
        }
        y[i] = REAL(total);
    }
}

// The same where there are many lines and places: y is 0 before, and a thread owns a whole line of it
extern "C" __global__ void scatter_add_lines(
    REAL* y, const REAL* v, const long long* index, int size, int count, int inner, int lines
) {
    for (EACH(line, lines)) {
        int image = line / inner, at = line % inner;
        for (int m = 0; m < count; m++) {
            int from = (image * count + m) * inner + at, to = (image * size + int(index[from])) * inner + at;
            y[to] = REAL(ACC(y[to]) + ACC(v[from]));
        }
    }
}

// y[places[k]] = Σ v[order[j]] over starts[k] ≤ j < starts[k + 1]; y is 0 before
extern "C" __global__ void add_runs(
    REAL* y, const REAL* v, const int* order, const int* starts, const int* places, int runs, int t
) {
    __shared__ ACC shared[32];
    int lane = threadIdx.x % t;
    for (EACH_ROW(k, runs, t)) {
        ACC total = 0;
        for (int j = starts[k] + lane; j < starts[k + 1]; j += t) total += ACC(v[order[j]]);
        total = group_sum(total, t, shared);
        if (lane == 0) y[places[k]] = REAL(total);
    }
}

// gx (outer, size, inner) from gy (outer, before + size + after, inner): the adjoint of add_border in move.cu
extern "C" __global__ void fold_border(
    REAL* gx, const REAL* gy, int size, int before, int after, int inner, int mirrored, int n
) {
    Divisor across(inner), along(size);
    for (EACH(i, n)) {
        int line = across.of(i), image = along.of(line), j = line - image * size;
        const REAL* own = gy + image * (before + size + after) * inner + (i - line * inner);
        ACC total = ACC(own[(before + j) * inner]);
        if (mirrored) {
            if (j >= 1 && j <= before) total += ACC(own[(before - j) * inner]);
            if (j >= size - 1 - after && j <= size - 2) total += ACC(own[(before + 2 * size - 2 - j) * inner]);
        } else {
            ACC border = 0;
            if (j == 0) {
                for (int k = 0; k < before; k++) border += ACC(own[k * inner]);
            }
            total += border, border = 0;
            if (j == size - 1) {
                for (int k = before + size; k < before + size + after; k++) border += ACC(own[k * inner]);
            }
            total += border;
        }
        gx[i] = REAL(total);
    }
}
