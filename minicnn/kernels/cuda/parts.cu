// Adding up what several blocks have computed piece by piece, in the order of the pieces: so that a sum may be split over
// blocks and still have one order, whoever finishes first.
//
//     y[i] = clip(Σ_s parts[s][i] + bias[channel of i])        with channel = i / inner mod channels
//
//     parts  s = 0  ┌────────────┐        a thread an element i, threads side by side: each piece is read in a row
//            s = 1  ├────────────┤
//            ...    └─────┬──────┘
//                         ▼
//     y             ┌────────────┐        operations   pieces·n
//                   └────────────┘        bytes        (pieces·sizeof(ACC) + sizeof(REAL))·n

#include "common.cuh"

// clip: 0 nothing, 1 max(y, 0), 2 min(max(y, 0), cap)
extern "C" __global__ void add_parts(REAL* y, const ACC* parts, const REAL* bias, int n, int pieces, int inner,
                                     int channels, int has_bias, int clip, ACC cap) {
    for (EACH(i, n)) {
        ACC sum = parts[i];
        for (int s = 1; s < pieces; s++) sum += parts[s * n + i];
        if (has_bias) sum += ACC(bias[i / inner % channels]);
        if (clip > 0) sum = relu_of(sum);
        if (clip > 1) sum = at_most(sum, cap);
        y[i] = REAL(sum);
    }
}
