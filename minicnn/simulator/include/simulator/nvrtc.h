// NVRTC has no host headers. What they gave is hidden, so that a kernel which needs it fails here as it fails there.
#pragma once
#undef INFINITY
#undef NAN
#undef HUGE_VAL
#undef HUGE_VALF
#undef M_PI
#undef M_E
#undef FLT_MAX
#undef FLT_MIN
#undef FLT_EPSILON
#undef INT_MAX
#undef INT_MIN
#undef assert
#define int8_t int8_t_is_unknown_to_NVRTC
#define uint8_t uint8_t_is_unknown_to_NVRTC
#define int16_t int16_t_is_unknown_to_NVRTC
#define uint16_t uint16_t_is_unknown_to_NVRTC
#define int32_t int32_t_is_unknown_to_NVRTC
#define uint32_t uint32_t_is_unknown_to_NVRTC
#define int64_t int64_t_is_unknown_to_NVRTC
#define uint64_t uint64_t_is_unknown_to_NVRTC
