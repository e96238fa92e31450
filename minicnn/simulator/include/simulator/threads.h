// Barriers, shuffles and votes.
#pragma once

#define __syncthreads() ((void)sim_barrier(SIM_SITE, 0, SIM_NO_VOTE))
#define __syncthreads_count(predicate) sim_barrier(SIM_SITE, !!(predicate), SIM_COUNT)
#define __syncthreads_and(predicate) sim_barrier(SIM_SITE, !!(predicate), SIM_ALL)
#define __syncthreads_or(predicate) sim_barrier(SIM_SITE, !!(predicate), SIM_ANY)

// One thread runs at a time, and it runs in the order of the program: fences have nothing to do.
static inline void __threadfence() {}
static inline void __threadfence_block() {}
static inline void __threadfence_system() {}

namespace sim {

template <class T>
SIM_OUTSIDE static T shuffle(unsigned mask, T value, int source, bool inside, const sim_site* site) {
    static_assert(sizeof(T) <= 8, "a shuffle moves 4 or 8 bytes");
    unsigned lanes;
    const uint64_t* shown = sim_exchange(mask, bits<uint64_t>(value), site, &lanes);
    if (!inside) return value;  // beyond the end of the segment: a lane keeps its own
    if (!(lanes >> source & 1)) sim_fail(site, "a shuffle reads from a lane that its mask does not name");
    return bits<T>(shown[source]);
}
static inline int segment(int width) { return sim_lane() & ~(width - 1); }

template <class T>
static T shuffle_down(const sim_site* site, unsigned mask, T value, unsigned delta, int width = 32) {
    int source = sim_lane() + (int)delta;
    return shuffle(mask, value, source, source < segment(width) + width, site);
}
template <class T>
static T shuffle_up(const sim_site* site, unsigned mask, T value, unsigned delta, int width = 32) {
    int source = sim_lane() - (int)delta;
    return shuffle(mask, value, source, source >= segment(width), site);
}
template <class T>
static T shuffle_xor(const sim_site* site, unsigned mask, T value, int lanes, int width = 32) {
    int source = sim_lane() ^ lanes;
    return shuffle(mask, value, source, source < segment(width) + width, site);
}
template <class T>
static T shuffle_from(const sim_site* site, unsigned mask, T value, int lane, int width = 32) {
    return shuffle(mask, value, segment(width) + (lane & (width - 1)), true, site);
}

SIM_OUTSIDE static unsigned ballot(const sim_site* site, unsigned mask, int predicate) {
    unsigned lanes, votes = 0;
    const uint64_t* shown = sim_exchange(mask, predicate != 0, site, &lanes);
    for (int lane = 0; lane < 32; lane++)
        if ((lanes >> lane & 1) && shown[lane]) votes |= 1u << lane;
    return votes;
}
template <class T>
SIM_OUTSIDE static unsigned match_any(const sim_site* site, unsigned mask, T value) {
    unsigned lanes, equal = 0;
    const uint64_t* shown = sim_exchange(mask, bits<uint64_t>(value), site, &lanes);
    for (int lane = 0; lane < 32; lane++)
        if ((lanes >> lane & 1) && shown[lane] == bits<uint64_t>(value)) equal |= 1u << lane;
    return equal;
}
template <class T, class F>
SIM_OUTSIDE static T reduce(const sim_site* site, unsigned mask, T value, F combine) {
    unsigned lanes;
    const uint64_t* shown = sim_exchange(mask, bits<uint64_t>(value), site, &lanes);
    bool first = true;
    for (int lane = 0; lane < 32; lane++)
        if (lanes >> lane & 1) {
            value = first ? bits<T>(shown[lane]) : combine(value, bits<T>(shown[lane]));
            first = false;
        }
    return value;
}
static inline void sync_warp(const sim_site* site, unsigned mask = 0xffffffffu) { sim_syncwarp(mask, site); }

}  // namespace sim

#define __shfl_down_sync(...) sim::shuffle_down(SIM_SITE, __VA_ARGS__)
#define __shfl_up_sync(...) sim::shuffle_up(SIM_SITE, __VA_ARGS__)
#define __shfl_xor_sync(...) sim::shuffle_xor(SIM_SITE, __VA_ARGS__)
#define __shfl_sync(...) sim::shuffle_from(SIM_SITE, __VA_ARGS__)
#define __ballot_sync(...) sim::ballot(SIM_SITE, __VA_ARGS__)
#define __any_sync(mask, predicate) (sim::ballot(SIM_SITE, mask, predicate) != 0)
#define __all_sync(mask, predicate) (sim::ballot(SIM_SITE, mask, !(predicate)) == 0)
#define __match_any_sync(...) sim::match_any(SIM_SITE, __VA_ARGS__)
#define __syncwarp(...) sim::sync_warp(SIM_SITE __VA_OPT__(,) __VA_ARGS__)
#define __reduce_add_sync(mask, value) sim::reduce(SIM_SITE, mask, value, [](auto a, auto b) { return a + b; })
#define __reduce_min_sync(mask, value) sim::reduce(SIM_SITE, mask, value, [](auto a, auto b) { return a < b ? a : b; })
#define __reduce_max_sync(mask, value) sim::reduce(SIM_SITE, mask, value, [](auto a, auto b) { return a > b ? a : b; })
#define __reduce_and_sync(mask, value) sim::reduce(SIM_SITE, mask, value, [](auto a, auto b) { return a & b; })
#define __reduce_or_sync(mask, value) sim::reduce(SIM_SITE, mask, value, [](auto a, auto b) { return a | b; })
#define __reduce_xor_sync(mask, value) sim::reduce(SIM_SITE, mask, value, [](auto a, auto b) { return a ^ b; })
