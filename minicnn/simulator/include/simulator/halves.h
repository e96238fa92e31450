// __half and __nv_bfloat16: storage and conversion. Arithmetic happens in float, as our kernels do it.
#pragma once

struct alignas(2) __half {
    _Float16 value;
    __half() = default;
    __half(float x) : value((_Float16)x) {}
    __half(double x) : value((_Float16)(float)x) {}
    __half(int x) : value((_Float16)x) {}
    operator float() const { return (float)value; }
};

struct alignas(2) __nv_bfloat16 {
    unsigned short upper;  // the upper half of a float
    __nv_bfloat16() = default;
    __nv_bfloat16(float x) {  // to nearest, ties to even
        unsigned u = __float_as_uint(x);
        upper = x != x ? 0x7fff : (unsigned short)((u + 0x7fff + (u >> 16 & 1)) >> 16);
    }
    __nv_bfloat16(double x) : __nv_bfloat16((float)x) {}
    __nv_bfloat16(int x) : __nv_bfloat16((float)x) {}
    operator float() const { return __uint_as_float((unsigned)upper << 16); }
};

struct alignas(4) __half2 { __half x, y; };
struct alignas(4) __nv_bfloat162 { __nv_bfloat16 x, y; };
typedef __half half;
typedef __half2 half2;
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;

static inline __half __float2half(float x) { return __half(x); }
static inline __half __float2half_rn(float x) { return __half(x); }
static inline __half __double2half(double x) { return __half(x); }
static inline float __half2float(__half x) { return (float)x; }
static inline __half2 __floats2half2_rn(float x, float y) { return {__half(x), __half(y)}; }
static inline __half2 __float22half2_rn(float2 v) { return {__half(v.x), __half(v.y)}; }
static inline float2 __half22float2(__half2 v) { return {(float)v.x, (float)v.y}; }
static inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
static inline __half __low2half(__half2 v) { return v.x; }
static inline __half __high2half(__half2 v) { return v.y; }
static inline float __low2float(__half2 v) { return (float)v.x; }
static inline float __high2float(__half2 v) { return (float)v.y; }
static inline unsigned short __half_as_ushort(__half x) { return sim::bits<unsigned short>(x); }
static inline __half __ushort_as_half(unsigned short x) { return sim::bits<__half>(x); }

static inline __nv_bfloat16 __float2bfloat16(float x) { return __nv_bfloat16(x); }
static inline __nv_bfloat16 __float2bfloat16_rn(float x) { return __nv_bfloat16(x); }
static inline float __bfloat162float(__nv_bfloat16 x) { return (float)x; }
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {__nv_bfloat16(x), __nv_bfloat16(y)}; }
static inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {(float)v.x, (float)v.y}; }
static inline float __low2float(__nv_bfloat162 v) { return (float)v.x; }
static inline float __high2float(__nv_bfloat162 v) { return (float)v.y; }
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.upper; }
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short x) { return sim::bits<__nv_bfloat16>(x); }
