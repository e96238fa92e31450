// Mathematical functions and conversions. Those that a GPU approximates (__expf, ...) are exact here.
#pragma once

template <class A, class B>
static inline constexpr std::common_type_t<A, B> min(A a, B b) { return a < b ? a : b; }
template <class A, class B>
static inline constexpr std::common_type_t<A, B> max(A a, B b) { return a > b ? a : b; }
// Of two numbers the one that is no NaN, as CUDA has it.
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
static inline float __saturatef(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }
static inline float sinpif(float x) { return (float)sin(3.14159265358979323846 * x); }
static inline float cospif(float x) { return (float)cos(3.14159265358979323846 * x); }
static inline double sinpi(double x) { return sin(3.14159265358979323846 * x); }
static inline double cospi(double x) { return cos(3.14159265358979323846 * x); }
#define __sincosf(x, sine, cosine) sincosf(x, sine, cosine)

#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __fdividef(a, b) ((float)(a) / (float)(b))
#define __frcp_rn(a) (1.0f / (float)(a))
#define __frsqrt_rn(a) (1.0f / sqrtf(a))
#define __fsqrt_rn(a) sqrtf(a)
#define __dsqrt_rn(a) sqrt(a)
#define __fdiv_rn(a, b) ((float)(a) / (float)(b))
#define __ddiv_rn(a, b) ((double)(a) / (double)(b))
#define __fmaf_rn(a, b, c) fmaf(a, b, c)
#define __fma_rn(a, b, c) fma(a, b, c)

// Rounded on their own: never contracted with a neighbour into a fused multiply-add.
namespace sim {
template <class T>
static inline __attribute__((always_inline)) T rounded(T value) {
#if defined(__x86_64__)
    asm("" : "+x"(value));
#else
    asm("" : "+w"(value));
#endif
    return value;
}
}  // namespace sim
static inline float __fadd_rn(float a, float b) { return sim::rounded(sim::rounded(a) + sim::rounded(b)); }
static inline float __fsub_rn(float a, float b) { return sim::rounded(sim::rounded(a) - sim::rounded(b)); }
static inline float __fmul_rn(float a, float b) { return sim::rounded(a * b); }
static inline double __dadd_rn(double a, double b) { return sim::rounded(sim::rounded(a) + sim::rounded(b)); }
static inline double __dsub_rn(double a, double b) { return sim::rounded(sim::rounded(a) - sim::rounded(b)); }
static inline double __dmul_rn(double a, double b) { return sim::rounded(a * b); }

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
static inline int __mulhi(int a, int b) { return (int)((int64_t)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return (unsigned)((((uint64_t)high << 32 | low) << (shift & 31)) >> 32);
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return (unsigned)(((uint64_t)high << 32 | low) >> (shift & 31));
}

static inline unsigned __float_as_uint(float x) { return sim::bits<unsigned>(x); }
static inline int __float_as_int(float x) { return sim::bits<int>(x); }
static inline float __uint_as_float(unsigned x) { return sim::bits<float>(x); }
static inline float __int_as_float(int x) { return sim::bits<float>(x); }
static inline long long __double_as_longlong(double x) { return sim::bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return sim::bits<double>(x); }

// To an integer as the hardware does it: what does not fit becomes the nearest that does, NaN becomes 0.
namespace sim {
template <class T>
static inline T saturated(double whole) {
    constexpr double low = std::is_signed_v<T> ? -2147483648.0 : 0.0, high = std::is_signed_v<T> ? 2147483647.0 : 4294967295.0;
    return whole != whole ? T(0) : T(fmin(fmax(whole, low), high));
}
}  // namespace sim
static inline int __float2int_rn(float x) { return sim::saturated<int>(rint(x)); }
static inline int __float2int_rd(float x) { return sim::saturated<int>(floor(x)); }
static inline int __float2int_ru(float x) { return sim::saturated<int>(ceil(x)); }
static inline int __float2int_rz(float x) { return sim::saturated<int>(trunc(x)); }
static inline unsigned __float2uint_rn(float x) { return sim::saturated<unsigned>(rint(x)); }
static inline unsigned __float2uint_rz(float x) { return sim::saturated<unsigned>(trunc(x)); }
static inline int __double2int_rn(double x) { return sim::saturated<int>(rint(x)); }
static inline int __double2int_rd(double x) { return sim::saturated<int>(floor(x)); }
static inline int __double2int_rz(double x) { return sim::saturated<int>(trunc(x)); }
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __uint2float_rn(unsigned x) { return (float)x; }
static inline double __int2double_rn(int x) { return (double)x; }

// Loads and stores with a hint for the cache.
template <class T> static inline T __ldg(const T* p) { return *p; }
template <class T> static inline T __ldca(const T* p) { return *p; }
template <class T> static inline T __ldcg(const T* p) { return *p; }
template <class T> static inline T __ldcs(const T* p) { return *p; }
template <class T> static inline void __stcg(T* p, sim::same_as<T> value) { *p = value; }
template <class T> static inline void __stcs(T* p, sim::same_as<T> value) { *p = value; }
static inline void __trap() { sim_fail(nullptr, "the kernel called __trap()"); }
