// Numbers carried from one place to another, unchanged: picking, joining, mirrored borders.
//
//     concat    x0 |aaaaaa|      y |aaaaaa|bbb|      each array is rows that lie further apart in y than in itself
//                  |aaaaaa|        |aaaaaa|bbb|
//               x1 |bbb|
//                  |bbb|
//
// What is carried does not matter, only how wide it is: REAL is a word of 1, 2, 4 or 8 bytes. Rows that allow it go 16
// bytes at a time.
//
//     operations   about 20 integer instructions for each word or 16 bytes: where it comes from
//     bytes        8 for each number of float32, and the index where there is one
#include "elementwise.cuh"

template <class T>
__device__ __forceinline__ void spread_rows(T* y, const T* x, int width, int y_width, int offset, int n) {
    Divisor row(width);
    for (EACH(i, n)) {
        int r = row.of(i);
        y[r * y_width + offset + (i - r * width)] = x[i];
    }
}

// y (rows, y_width), x (rows, width) -> y[:, offset : offset + width] = x; sizes in words, or in packs of 16 bytes
extern "C" __global__ void copy_rows(REAL* y, const REAL* x, int width, int y_width, int offset, int n, int packed) {
    if (packed) {
        spread_rows((Pack*)y, (const Pack*)x, width, y_width, offset, n);
    } else {
        spread_rows(y, x, width, y_width, offset, n);
    }
}

// y[i] = x[positions[i]]
extern "C" __global__ void take(REAL* y, const REAL* x, const int* positions, int n) {
    for (EACH(i, n)) y[i] = x[positions[i]];
}

// y (outer, size, inner) = x (outer, x_size, inner) at index, which has the shape of y, along the middle axis
extern "C" __global__ void gather(
    REAL* y, const REAL* x, const long long* index, int x_size, int size, int inner, int n
) {
    Divisor across(inner), along(size);
    for (EACH(i, n)) {
        int line = across.of(i);
        y[i] = x[(along.of(line) * x_size + int(index[i])) * inner + (i - line * inner)];
    }
}

// y (outer, before + size + after, inner) from x (outer, size, inner): the border repeats the edge or mirrors what is
// inside of it
extern "C" __global__ void add_border(
    REAL* y, const REAL* x, int size, int before, int after, int inner, int mirrored, int n
) {
    int whole = before + size + after;
    Divisor across(inner), along(whole);
    for (EACH(i, n)) {
        int line = across.of(i), image = along.of(line), j = line - image * whole - before;
        if (mirrored) {
            j = j < 0 ? -j : j >= size ? 2 * (size - 1) - j : j;
        } else {
            j = max(0, min(j, size - 1));
        }
        y[i] = x[(image * size + j) * inner + (i - line * inner)];
    }
}
