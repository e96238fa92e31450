// Models of the PTX instructions behind minicnn/kernels/cuda/ptx.cuh: mma.sync, ldmatrix, cp.async.
//
// A fragment is a matrix spread over the registers of a warp. With g = lane / 4 and t = lane % 4, the PTX ISA
// ("Matrix Fragments for mma.m16n8k8", "... for mma.m16n8k16") puts element (row, column) of
//
//     A 16×8  tf32      register r            row g + 8·(r & 1)            column t + 4·(r >> 1)
//     B 8×8   tf32      register r            row t + 4·r                  column g
//     A 16×16 halves    register r, half h    row g + 8·(r & 1)            column 2t + h + 8·(r >> 1)
//     B 16×8  halves    register r, half h    row 2t + h + 8·r             column g
//     C, D 16×8 float   register r            row g + 8·(r >> 1)           column 2t + (r & 1)
#pragma once

namespace sim {

// All lanes show one register each; show(lane, value) sees them.
template <class F>
SIM_OUTSIDE static void gather(unsigned value, const sim_site* site, F show) {
    unsigned lanes;
    const uint64_t* shown = sim_exchange(0xffffffffu, value, site, &lanes);
    for (int lane = 0; lane < 32; lane++) show(lane, (unsigned)shown[lane]);
}

template <int K>
SIM_OUTSIDE static void multiply(float (&d)[4], const float (&a)[16][K], const float (&b)[K][8], const float (&c)[4]) {
    int g = sim_lane() >> 2, t = sim_lane() & 3;
    for (int r = 0; r < 4; r++) {
        int row = g + 8 * (r >> 1), column = 2 * t + (r & 1);
        float sum = c[r];
        for (int k = 0; k < K; k++) sum += a[row][k] * b[k][column];
        d[r] = sum;
    }
}

// Of a tf32 operand the hardware looks at 19 bits.
static inline float as_tf32(unsigned u) { return bits<float>(u & 0xffffe000u); }
// cvt.rna.tf32.f32: to nearest, ties away from zero.
static inline unsigned round_to_tf32(float x) { return x != x ? 0x7fffffffu : (bits<unsigned>(x) + 0x1000u) & 0xffffe000u; }

SIM_OUTSIDE static void mma_m16n8k8_tf32(
    float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4], const sim_site* site) {
    float left[16][8], right[8][8];
    for (int r = 0; r < 4; r++)
        gather(a[r], site, [&](int lane, unsigned u) SIM_UNWATCHED { left[(lane >> 2) + 8 * (r & 1)][(lane & 3) + 4 * (r >> 1)] = as_tf32(u); });
    for (int r = 0; r < 2; r++)
        gather(b[r], site, [&](int lane, unsigned u) SIM_UNWATCHED { right[(lane & 3) + 4 * r][lane >> 2] = as_tf32(u); });
    multiply(d, left, right, c);
}

template <class Half>
SIM_OUTSIDE static void mma_m16n8k16(
    float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4], const sim_site* site) {
    float left[16][16], right[16][8];
    auto half = [](unsigned u, int h) SIM_UNWATCHED { return (float)bits<Half>((unsigned short)(u >> 16 * h)); };
    for (int r = 0; r < 4; r++)
        gather(a[r], site, [&](int lane, unsigned u) SIM_UNWATCHED {
            for (int h = 0; h < 2; h++) left[(lane >> 2) + 8 * (r & 1)][2 * (lane & 3) + h + 8 * (r >> 1)] = half(u, h);
        });
    for (int r = 0; r < 2; r++)
        gather(b[r], site, [&](int lane, unsigned u) SIM_UNWATCHED {
            for (int h = 0; h < 2; h++) right[2 * (lane & 3) + h + 8 * r][lane >> 2] = half(u, h);
        });
    multiply(d, left, right, c);
}

// ldmatrix: lanes 8m to 8m + 7 hold the addresses of the eight rows of matrix m; register m of a lane becomes the two
// neighbours (2t, 2t + 1) of row g, or, transposed, of column g.
template <int COUNT>
SIM_OUTSIDE static void ldmatrix(unsigned (&d)[COUNT], const void* row, bool transposed, const sim_site* site) {
    if (sim_lane() < 8 * COUNT) {
        if ((uintptr_t)row % 16) sim_fail(site, "ldmatrix: the address of a row is not a multiple of 16");
        sim_access(row, 16, SIM_READ, SIM_CALLER);
    }
    unsigned lanes;
    const uint64_t* rows = sim_exchange(0xffffffffu, (uintptr_t)row, site, &lanes);
    int g = sim_lane() >> 2, t = sim_lane() & 3;
    for (int m = 0; m < COUNT; m++) {
        unsigned short low, high;
        auto element = [&](int r, int column) SIM_UNWATCHED { return (const char*)rows[8 * m + r] + 2 * column; };
        memcpy(&low, transposed ? element(2 * t, g) : element(g, 2 * t), 2);
        memcpy(&high, transposed ? element(2 * t + 1, g) : element(g, 2 * t + 1), 2);
        d[m] = (unsigned)high << 16 | low;
    }
}

template <int BYTES>
SIM_OUTSIDE static void copy_async(void* to, const void* from, bool valid) {
    sim_copy_async(to, from, BYTES, valid ? BYTES : 0, SIM_CALLER);
}

}  // namespace sim
