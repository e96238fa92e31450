// PTX instructions that CUDA C++ has no name for, as functions: tensor cores, their loads, copies that run by themselves.
//
// Kernels never write assembly; they call these. In the simulator each is a model of the instruction
// (minicnn/simulator/include/simulator/tensor_cores.h), which also says how a fragment lies in the registers of a warp.
//
//     to_tf32(x)                         x rounded to the 19 bits of tf32, as the bits of a float         sm_80
//     mma_tf32(d, a, b)                  d += a · b: 16×8 += 16×8 · 8×8, in float                         sm_80
//     mma_f16(d, a, b), mma_bf16(...)    d += a · b: 16×8 += 16×16 · 16×8, products of halves in float    sm_80
//     ldmatrix_x2(d, row), _x4           2 or 4 matrices of 8×8 halves from shared memory                 sm_75
//     ldmatrix_x2_trans(d, row), _x4     ... transposed                                                   sm_75
//     copy_async<BYTES>(to, from, valid) 4, 8 or 16 bytes from global to shared memory; zeros if not valid sm_80
//     copy_commit()                      what has been copied since the last commit is a group            sm_80
//     copy_wait<N>()                     until at most N of this thread's groups are under way            sm_80
//
// All 32 lanes of a warp execute mma_* and ldmatrix_* together. What copy_wait waited for only this thread may read;
// a barrier shows it to the others.

#pragma once

#ifdef MINICNN_SIMULATOR

#define to_tf32(x) sim::round_to_tf32(x)
#define mma_tf32(d, a, b) sim::mma_m16n8k8_tf32(d, a, b, d, SIM_SITE)
#define mma_f16(d, a, b) sim::mma_m16n8k16<__half>(d, a, b, d, SIM_SITE)
#define mma_bf16(d, a, b) sim::mma_m16n8k16<__nv_bfloat16>(d, a, b, d, SIM_SITE)
#define ldmatrix_x2(d, row) sim::ldmatrix<2>(d, row, false, SIM_SITE)
#define ldmatrix_x4(d, row) sim::ldmatrix<4>(d, row, false, SIM_SITE)
#define ldmatrix_x2_trans(d, row) sim::ldmatrix<2>(d, row, true, SIM_SITE)
#define ldmatrix_x4_trans(d, row) sim::ldmatrix<4>(d, row, true, SIM_SITE)
template <int BYTES>
inline __attribute__((always_inline)) void copy_async(void* to, const void* from, bool valid = true) {
    sim::copy_async<BYTES>(to, from, valid);
}
inline void copy_commit() { sim_copy_commit(); }
template <int PENDING>
inline void copy_wait() { sim_copy_wait(PENDING); }

#else

__device__ __forceinline__ unsigned to_tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

__device__ __forceinline__ void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// "memory": the compiler must not move a store to shared memory across the load
__device__ __forceinline__ void ldmatrix_x2(unsigned (&d)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(d[0]), "=r"(d[1]) : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x4(unsigned (&d)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(unsigned (&d)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(d[0]), "=r"(d[1]) : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&d)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
}

template <int BYTES>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool valid = true) {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
    unsigned shared = (unsigned)__cvta_generic_to_shared(to);
    int size = valid ? BYTES : 0;
    if constexpr (BYTES == 16)  // past L1: nobody in the block reads these bytes again
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(shared), "l"(from), "r"(size) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                     : : "r"(shared), "l"(from), "n"(BYTES), "r"(size) : "memory");
}
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" : : : "memory"); }
template <int PENDING>
__device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" : : "n"(PENDING) : "memory");
}

#endif
