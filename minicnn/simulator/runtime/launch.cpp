// All blocks of a grid, one after the other; and the report, if one of them does what it must not.
#include "machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <numeric>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace sim {

const sim_launch* launched;
sim_report report;

static void write_report(const sim_site* site, void* pc, void* other_pc, const char* format, va_list arguments) {
    if (report.failed) return;
    report.failed = 1;
    report.in_thread = current != nullptr && current->stack != nullptr;
    report.pc = pc;
    report.other_pc = other_pc;
    report.file = site ? site->file : nullptr;
    report.line = site ? site->line : 0;
    unsigned at_block[3] = {sim_block_index.x, sim_block_index.y, sim_block_index.z};
    unsigned at_thread[3] = {sim_thread_index.x, sim_thread_index.y, sim_thread_index.z};
    memcpy(report.block, at_block, sizeof at_block);
    memcpy(report.thread, at_thread, sizeof at_thread);
    vsnprintf(report.text, sizeof report.text, format, arguments);
}

void fail(const sim_site* site, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_report(site, nullptr, nullptr, format, arguments);
    va_end(arguments);
    leave();
}

void fail_at(void* pc, void* other_pc, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_report(nullptr, pc, other_pc, format, arguments);
    va_end(arguments);
    leave();
}

static void refuse(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_report(nullptr, nullptr, nullptr, format, arguments);
    va_end(arguments);
}

static bool fits() {
    const unsigned *grid = launched->grid, *threads = launched->block;
    unsigned long long all = 1ull * threads[0] * threads[1] * threads[2];
    if (!all || all > MOST_THREADS || threads[0] > 1024 || threads[1] > 1024 || threads[2] > 64)
        refuse("a block of (%u, %u, %u) threads: at least 1, at most (1024, 1024, 64) and 1024 in all", threads[0],
               threads[1], threads[2]);
    else if (!grid[0] || !grid[1] || !grid[2] || grid[0] > 2147483647u || grid[1] > 65535 || grid[2] > 65535)
        refuse("a grid of (%u, %u, %u) blocks: at least 1, at most (2³¹−1, 65535, 65535)", grid[0], grid[1], grid[2]);
    else if (launched->dynamic_shared > SHARED_LIMIT)
        refuse("%zu bytes of dynamic shared memory are more than the 227 KB of a block", launched->dynamic_shared);
    return !report.failed;
}

// CuPy compiles with -ftz=true: tiny numbers are zero. (Here that holds for double too.)
struct FlushToZero {
#if defined(__x86_64__)
    unsigned before = _mm_getcsr();
    FlushToZero() { _mm_setcsr(before | 0x8040); }
    ~FlushToZero() { _mm_setcsr(before); }
#endif
};

// The order of the blocks: i -> (first + i·step) mod blocks visits each of them once, if step has no common factor.
struct BlockOrder {
    unsigned long long blocks, first = 0, step = 1;
    explicit BlockOrder(unsigned long long n) : blocks(n) {
        if (launched->order == REVERSE) first = n - 1, step = n - 1;
        if (launched->order == RANDOM) {
            unsigned most = n > 1u << 30 ? 1u << 30 : (unsigned)n;  // first + i·step stays within 64 bits
            first = random_below(most);
            do step = 1 + random_below(most);
            while (std::gcd(step, n) != 1);
        }
    }
    unsigned long long operator[](unsigned long long i) const {
        return (unsigned long long)(((unsigned __int128)i * step + first) % blocks);
    }
};

// What belongs to nobody must be as it was: that shows a write out of bounds when nobody watches, though not whose.
static void check_guards() {
    for (int i = 0; i < launched->regions && !report.failed; i++) {
        const sim_region& region = launched->region[i];
        char *before = region.memory - region.guard_before, *after = region.memory + region.memory_size;
        auto spoiled = [](const char* from, int size) {
            for (int at = 0; at < size; at++)
                if (from[at] != (char)0xff) return true;
            return false;
        };
        bool in_front = spoiled(before, region.guard_before);
        if (!in_front && !spoiled(after, region.guard_after)) continue;
        refuse("out of bounds: something was written %s <array %d>", in_front ? "in front of" : "past the end of",
               region.argument);
        memset(before, 0xff, region.guard_before);
        memset(after, 0xff, region.guard_after);
    }
}

static void run_block(unsigned long long number) {
    unsigned width = launched->grid[0], height = launched->grid[1];
    sim_block_index = {(unsigned)(number % width), (unsigned)(number / width % height), (unsigned)(number / width / height)};
    block.started = block.returned = 0;
    block.epoch = 0;
    block.serial++;
    size_t warps = warp_of(block.threads - 1) + 1;
    block.warp_epoch.assign(warps, 0);
    block.warp_returned.assign(warps, 0);
    prepare_fibers();
    prepare_collectives();
    prepare_shared();
    prepare_copies();
    do run_fibers();
    while (!report.failed && block.started < block.threads);
    release_shared();
    if (!report.failed && block.returned < block.threads) {
        char waiting[700] = "";
        describe_waiting(waiting, sizeof waiting);
        refuse("deadlock: %d threads of the block have returned and %d wait for ever:%s", block.returned,
               block.threads - block.returned, waiting);
    }
}

static void run() {
    sim_grid_size = dim3(launched->grid[0], launched->grid[1], launched->grid[2]);
    sim_block_size = dim3(launched->block[0], launched->block[1], launched->block[2]);
    block.threads = (int)(launched->block[0] * launched->block[1] * launched->block[2]);
    seed_order(launched->seed);
    prepare_checker();
    unsigned long long blocks = 1ull * launched->grid[0] * launched->grid[1] * launched->grid[2];
    BlockOrder order(blocks);
    FlushToZero flush;
    for (unsigned long long i = 0; i < blocks && !report.failed && !interrupt_pending(); i++) run_block(order[i]);
}

}  // namespace sim

using namespace sim;

extern "C" void sim_fail(const sim_site* site, const char* message) { fail(site, "%s", message); }

// Run a kernel; returns null if all went well.
extern "C" const sim_report* sim_run(const sim_launch* launch) {
    launched = launch;
    report = {};
    if (fits()) {
        catch_signals();
        run();
        check_guards();
        if (interrupt_pending()) report.failed = report.interrupted = 1;
        release_signals();
        if (report.failed) reset_fibers();
        release_checker();
    }
    return report.failed ? &report : nullptr;
}
