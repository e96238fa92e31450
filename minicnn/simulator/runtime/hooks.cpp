// How the compiler's instrumentation reaches the checker.
//
// In the check build kernels are compiled with -fsanitize=thread,undefined, and linked with neither of these sanitizers:
// the functions that g++ then calls before each access, and where C++ leaves the behaviour undefined, are these.
#include "machine.h"

#if defined(SIM_CHECK)

#define CALLER __builtin_return_address(0)
#define ACCESS(name, size, kind) \
    extern "C" void __tsan_##name##size(void* address) { sim::access(address, size, kind, CALLER); }
#define ACCESSES(size) \
    ACCESS(read, size, SIM_READ) \
    ACCESS(write, size, SIM_WRITE) \
    ACCESS(unaligned_read, size, SIM_READ) \
    ACCESS(unaligned_write, size, SIM_WRITE) \
    ACCESS(volatile_read, size, SIM_READ) \
    ACCESS(volatile_write, size, SIM_WRITE) \
    ACCESS(unaligned_volatile_read, size, SIM_READ) \
    ACCESS(unaligned_volatile_write, size, SIM_WRITE)
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
extern "C" void __tsan_read_range(void* address, size_t size) { sim::access(address, size, SIM_READ, CALLER); }
extern "C" void __tsan_write_range(void* address, size_t size) { sim::access(address, size, SIM_WRITE, CALLER); }
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}

struct Place {
    const char* file;
    unsigned line, column;
};
#define UNDEFINED(name, what, ...) \
    extern "C" void __ubsan_handle_##name(Place* place, ##__VA_ARGS__) { \
        const sim_site site{place->file, (int)place->line}; \
        sim::fail(&site, what); \
    }
UNDEFINED(add_overflow, "integer overflow in +", void*, void*)
UNDEFINED(sub_overflow, "integer overflow in -", void*, void*)
UNDEFINED(mul_overflow, "integer overflow in *", void*, void*)
UNDEFINED(negate_overflow, "integer overflow in a change of sign", void*)
UNDEFINED(divrem_overflow, "division by zero, or integer overflow in a division", void*, void*)
UNDEFINED(out_of_bounds, "out of bounds: an index is outside of its array", void*)
UNDEFINED(shift_out_of_bounds, "a shift by more bits than there are, or of a negative number", void*, void*)
UNDEFINED(float_cast_overflow, "a number that does not fit into the integer type it is converted to", void*)
UNDEFINED(pointer_overflow, "overflow in the arithmetic of a pointer", void*, void*)
UNDEFINED(builtin_unreachable, "unreachable code was reached")
UNDEFINED(missing_return, "a function ends without returning its value")
UNDEFINED(load_invalid_value, "a bool or enum that has none of its values", void*)
UNDEFINED(vla_bound_not_positive, "an array of size 0 or less", void*)
UNDEFINED(invalid_builtin, "__clz or __ffs of 0")

extern "C" void __ubsan_handle_type_mismatch_v1(Place* place, void* address) {
    const sim_site site{place->file, (int)place->line};
    if (!address) sim::fail(&site, "out of bounds: a null pointer is used");
    sim::fail(&site, "misaligned: address %p is no multiple of its type's size", address);
}

#endif
