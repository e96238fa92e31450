// Random bits: Philox4x32-10, numbers that are looked up rather than drawn.
//
//     key      (seed low, seed high)                                    10 rounds, each two multiplications:
//     counter  (block low, block high, call low, call high)
//                     c0     c1     c2     c3                           (h0, l0) = M0 · c0     (h1, l1) = M1 · c2
//                     └──┬───┴──┬───┴──┬───┘                            c0, c1 = h1 ^ c1 ^ k0, l1
//                word 4·block + 0, 1, 2, 3                              c2, c3 = h0 ^ c3 ^ k1, l0
//                                                                       k0, k1 = k0 + W0, k1 + W1
// A thread makes the four words of a block. `replayed` is a number on the device that is added to the call: a CUDA
// graph is recorded with the call that it had then, and moved on by writing there (random.py).
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
//
//     operations   about 25 integer instructions for each word (20 multiplications for 4 words)
//     bytes        4 written for each word; a mask of float32 is those 4 and no more
#include "types.cuh"

#include "common.cuh"

struct __align__(16) Words {
    unsigned v[4];
};

__device__ __forceinline__ Words philox(
    unsigned block, unsigned seed_low, unsigned seed_high, unsigned call_low, unsigned call_high,
    const unsigned long long* replayed
) {
    unsigned long long call = ((unsigned long long)call_high << 32 | call_low) + *replayed;
    unsigned c0 = block, c1 = 0, c2 = unsigned(call), c3 = unsigned(call >> 32);
    unsigned k0 = seed_low, k1 = seed_high;
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
        unsigned h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
        c0 = h1 ^ c1 ^ k0, c1 = l1;
        c2 = h0 ^ c3 ^ k1, c3 = l0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

extern "C" __global__ void random_bits(
    unsigned* words, unsigned seed_low, unsigned seed_high, unsigned call_low, unsigned call_high,
    const unsigned long long* replayed, int n
) {
    for (EACH(block, (n + 3) / 4)) {
        Words four = philox(block, seed_low, seed_high, call_low, call_high, replayed);
        if (4 * block + 4 <= n) {
            ((Words*)words)[block] = four;
        } else {
            for (int i = 4 * block; i < n; i++) words[i] = four.v[i % 4];
        }
    }
}

// mask[i] = kept where word i is at least `least`, else 0
extern "C" __global__ void dropout_mask(
    REAL* mask, unsigned seed_low, unsigned seed_high, unsigned call_low, unsigned call_high,
    const unsigned long long* replayed, unsigned least, ACC kept, int n
) {
    for (EACH(block, (n + 3) / 4)) {
        Words four = philox(block, seed_low, seed_high, call_low, call_high, replayed);
        for (int i = 0; i < 4 && 4 * block + i < n; i++) {
            mask[4 * block + i] = REAL(four.v[i] >= least ? kept : ACC(0));
        }
    }
}
