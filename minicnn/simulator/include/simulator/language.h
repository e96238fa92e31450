// CUDA's keywords, built-in variables and vector types.
#pragma once
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <type_traits>
#include <utility>

#define MINICNN_SIMULATOR 1

#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

// For what belongs to the simulator: not watched, and with a return address that lies in the kernel. (A lambda inside
// of such a function is a function of its own: it says SIM_UNWATCHED itself.)
#define SIM_UNWATCHED __attribute__((no_sanitize_thread, no_sanitize_undefined))
#define SIM_OUTSIDE SIM_UNWATCHED __attribute__((noinline))
#define SIM_CALLER __builtin_return_address(0)
// The place in the source, as one object for each place.
#define SIM_SITE ([]() -> const sim_site* { static constexpr sim_site site{__FILE__, __LINE__}; return &site; }())

#define threadIdx sim_thread_index
#define blockIdx sim_block_index
#define blockDim sim_block_size
#define gridDim sim_grid_size
#define warpSize 32

#define SIM_VECTOR_1(name, type) \
    struct name##1 { type x; }; \
    static inline name##1 make_##name##1(type x) { return {x}; }
#define SIM_VECTOR_2(name, type) \
    struct alignas(2 * sizeof(type)) name##2 { type x, y; }; \
    static inline name##2 make_##name##2(type x, type y) { return {x, y}; }
#define SIM_VECTOR_3(name, type) \
    struct name##3 { type x, y, z; }; \
    static inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }
#define SIM_VECTOR_4(name, type) \
    struct alignas(4 * sizeof(type) < 16 ? 4 * sizeof(type) : 16) name##4 { type x, y, z, w; }; \
    static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
#define SIM_VECTORS(name, type) SIM_VECTOR_1(name, type) SIM_VECTOR_2(name, type) SIM_VECTOR_3(name, type) SIM_VECTOR_4(name, type)
SIM_VECTORS(char, signed char)
SIM_VECTORS(uchar, unsigned char)
SIM_VECTORS(short, short)
SIM_VECTORS(ushort, unsigned short)
SIM_VECTORS(int, int)
SIM_VECTOR_1(uint, unsigned) SIM_VECTOR_2(uint, unsigned) SIM_VECTOR_4(uint, unsigned)
static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
SIM_VECTORS(longlong, long long)
SIM_VECTORS(ulonglong, unsigned long long)
SIM_VECTORS(float, float)
SIM_VECTORS(double, double)

namespace sim {
template <class To, class From>
SIM_OUTSIDE static To bits(From value) {  // the same bytes as another type; bytes without a counterpart are 0
    To result{};
    memcpy(&result, &value, sizeof(To) < sizeof(From) ? sizeof(To) : sizeof(From));
    return result;
}
template <class T> struct same { using type = T; };  // same_as<T>: a parameter that T is not deduced from
template <class T> using same_as = typename same<T>::type;
}  // namespace sim
