// Resizing: each number of the result is a mixture of a few neighbours, rows and columns apart (sampling.bands says
// which, and in which shares). The adjoint is a band as well: it gathers with the same code.
//
//     x ┌─────────┐  rows: start[p], weights[p][·]         y ┌───────────────┐
//       │ . a b . │ ─┐                                       │               │   a thread an element of y; of a weight
//       │ . c d . │ ─┴─→ Σ_j Σ_k  row_j · column_k · x ────→ │       ·       │   that is 0 x is not read: ∞ and NaN
//       └─────────┘                                          └───────────────┘   reach only what is made of them
//
//     operations   3 · width of the row band · width of the column band, 2 · 2 or less when enlarging
//     bytes        x and y once: memory decides

#include "common.cuh"

extern "C" __global__ void resize(REAL* y, const REAL* x, const int* row_start, const ACC* row_weights,
                                  const int* column_start, const ACC* column_weights, int planes, int height, int width,
                                  int rows, int columns, int row_band, int column_band) {
    for (EACH(i, planes * rows * columns)) {
        int q = i % columns, p = i / columns % rows;
        const REAL* corner = x + (i / columns / rows * height + row_start[p]) * width + column_start[q];
        ACC sum = 0;
        for (int j = 0; j < row_band; j++) {
            ACC down = row_weights[p * row_band + j], line = 0;
            if (down == ACC(0)) continue;
            for (int k = 0; k < column_band; k++) {
                ACC along = column_weights[q * column_band + k];
                if (along != ACC(0)) line += along * ACC(corner[j * width + k]);
            }
            sum += down * line;
        }
        y[i] = REAL(sum);
    }
}
