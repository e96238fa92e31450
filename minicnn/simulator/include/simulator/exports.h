// What Python finds in a compiled file: for each kernel its name, how to call it, and the types of its parameters.
#pragma once

struct sim_parameter {
    char kind, element_kind;  // f float, i signed, u unsigned, b bool, h __half, B __nv_bfloat16, p pointer, v void, s other
    int size, element_size, element_const;
};
struct sim_kernel {
    const char* name;
    void (*call)(void**);
    int count;
    const sim_parameter* parameters;
};

namespace sim {

template <class T>
constexpr char kind() {
    using U = std::remove_cv_t<T>;
    if (std::is_same_v<U, bool>) return 'b';
    if (std::is_same_v<U, __half>) return 'h';
    if (std::is_same_v<U, __nv_bfloat16>) return 'B';
    if (std::is_floating_point_v<U>) return 'f';
    if (std::is_integral_v<U>) return std::is_signed_v<U> ? 'i' : 'u';
    if (std::is_pointer_v<U>) return 'p';
    return std::is_void_v<U> ? 'v' : 's';
}
template <class T>
constexpr int size_of() {
    if constexpr (std::is_void_v<T>) return 1;
    else return sizeof(T);
}
template <class T>
constexpr sim_parameter parameter() {
    if constexpr (std::is_pointer_v<T>) {
        using Element = std::remove_pointer_t<T>;
        return {'p', kind<Element>(), sizeof(T), size_of<Element>(), std::is_const_v<Element>};
    } else {
        return {kind<T>(), 0, sizeof(T), 0, 0};
    }
}

template <auto F> struct entry;
template <class... A, void (*F)(A...)>
struct entry<F> {
    static constexpr int count = sizeof...(A);
    static constexpr sim_parameter parameters[count + 1] = {parameter<A>()..., {}};
    template <size_t... I>
    SIM_OUTSIDE static void unpack(void** arguments, std::index_sequence<I...>) {
        F(*(std::remove_reference_t<A>*)arguments[I]...);
    }
    SIM_OUTSIDE static void call(void** arguments) { unpack(arguments, std::index_sequence_for<A...>{}); }
};

}  // namespace sim

#define SIM_VISIBLE extern "C" __attribute__((visibility("default")))
#define SIM_EXPORT(number, text, ...) \
    SIM_VISIBLE const sim_kernel sim_kernel_##number; \
    const sim_kernel sim_kernel_##number = { \
        text, &sim::entry<&__VA_ARGS__>::call, sim::entry<&__VA_ARGS__>::count, sim::entry<&__VA_ARGS__>::parameters};

// Where this file's own variables lie in memory.
extern "C" __attribute__((visibility("hidden"))) char __ehdr_start, _end;
#define SIM_EXPORT_IMAGE \
    SIM_VISIBLE const char* const sim_image[2]; \
    const char* const sim_image[2] = {&__ehdr_start, &_end};
