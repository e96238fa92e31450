// Who has touched which byte, and whether he might.
//
// Every read and write of a kernel comes here (hooks.cpp). It must lie in an array that the kernel was given, it must
// not read what nobody wrote, and it must not race: of two accesses to one place by two threads, one of them a write,
// one must come before the other in every run, and only a barrier between them says so (__syncthreads for threads of a
// block, __syncwarp for those of a warp; nothing for two blocks). That is decided from the accesses alone: a race is
// found in whatever order the threads happen to run.
//
// For each granule of memory (an element, or a byte where kernels mix types) a cell remembers the last write and the
// last reads. Of several readers who are not ordered among each other only the group is kept that has them all.
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

namespace sim {

#if !defined(SIM_CHECK)

void prepare_checker() {}
void release_checker() {}
void access(const void*, size_t, int, void*) {}
void mark_in_flight(const void*, size_t, bool) {}

#else

enum Readers : uint8_t { NOBODY, ONE, SOME_OF_WARP, SOME_OF_BLOCK, SOME_OF_GRID };

struct Cell {
    uint32_t serial;               // of the block, in shared memory: a cell of another block is empty
    uint32_t writer, reader;       // numbers in the grid: see number_of_current()
    uint32_t write_epoch, write_warp_epoch, write_place;
    uint32_t read_epoch, read_warp_epoch, read_place;
    uint32_t other_reader, other_read_place;  // one more of the group
    Readers readers;
    bool by_atomic, in_flight, written;  // written: in shared memory only
};

// The cells of one piece of memory, one for each `granule` bytes.
struct Shadow {
    char* start;
    size_t size, granule;
    Cell* cells;                   // null until it is touched

    Cell& at(size_t offset) {
        if (!cells) cells = (Cell*)calloc(size / granule + 1, sizeof(Cell));  // zero pages: costs what is touched
        return cells[offset / granule];
    }
    // From now on a cell for each byte.
    void split() {
        Cell* fine = (Cell*)calloc(size + 1, sizeof(Cell));
        if (cells)
            for (size_t i = 0; i < size; i++) fine[i] = cells[i / granule];
        free(cells);
        cells = fine;
        granule = 1;
    }
};

static std::vector<Shadow> shadows;     // of the allocations that this launch may touch
static std::vector<int> shadow_of;      // for each region, which
static Shadow shared_shadow;
static size_t last_region;

void prepare_checker() {
    shadow_of.clear();
    last_region = 0;
    for (int i = 0; i < launched->regions; i++) {
        const sim_region& region = launched->region[i];
        size_t granule = region.element == 1 || region.element == 2 || region.element == 8 ? region.element : 4;
        auto same = [&](const Shadow& shadow) { return shadow.start == region.memory; };
        auto found = std::find_if(shadows.begin(), shadows.end(), same);
        if (found == shadows.end()) {
            shadows.push_back({region.memory, region.memory_size, granule, nullptr});
            found = shadows.end() - 1;
        }
        found->granule = std::min(found->granule, granule);
        if ((region.start - region.memory) % found->granule) found->granule = 1;
        shadow_of.push_back((int)(found - shadows.begin()));
    }
    if (!shared_shadow.size) shared_shadow = {nullptr, 320 * KB, 4, nullptr};
}

void release_checker() {
    for (Shadow& shadow : shadows) free(shadow.cells);
    shadows.clear();
}

// ---- races

static uint32_t number_of_current() {
    uint64_t number = sim_block_index.x + (uint64_t)sim_grid_size.x * (sim_block_index.y + (uint64_t)sim_grid_size.y * sim_block_index.z);
    return (uint32_t)(1 + number * block.threads + current->thread);
}
static uint32_t block_of(uint32_t number) { return (number - 1) / block.threads; }
static int thread_of(uint32_t number) { return (int)((number - 1) % block.threads); }

struct Now {  // this access
    uint32_t number, epoch, warp_epoch, place;
};

// Does a barrier lie between an access of `number` in those epochs and this one?
static bool is_before(uint32_t number, uint32_t epoch, uint32_t warp_epoch, const Now& now) {
    if (number == now.number) return true;
    if (block_of(number) != block_of(now.number)) return false;
    if (epoch != now.epoch) return true;
    return warp_of(thread_of(number)) == warp_of(thread_of(now.number)) && warp_epoch != now.warp_epoch;
}

static bool reads_are_before(const Cell& cell, const Now& now) {
    bool same_block = cell.reader && block_of(cell.reader) == block_of(now.number);
    switch (cell.readers) {
        case NOBODY: return true;
        case ONE: return is_before(cell.reader, cell.read_epoch, cell.read_warp_epoch, now);
        case SOME_OF_WARP:
            if (same_block && warp_of(thread_of(cell.reader)) == warp_of(thread_of(now.number)) &&
                cell.read_warp_epoch != now.warp_epoch) return true;
            return same_block && cell.read_epoch != now.epoch;
        case SOME_OF_BLOCK: return same_block && cell.read_epoch != now.epoch;
        case SOME_OF_GRID: return false;
    }
    return false;
}

static void remember_read(Cell& cell, const Now& now) {
    if (cell.readers == SOME_OF_GRID) return;
    bool alone = reads_are_before(cell, now);  // those before it are before whatever comes after it
    if (!alone && cell.reader != now.number) {
        cell.other_reader = cell.reader;
        cell.other_read_place = cell.read_place;
    }
    if (alone) cell.readers = ONE;
    else if (block_of(cell.reader) != block_of(now.number)) cell.readers = SOME_OF_GRID;
    else if (cell.readers != SOME_OF_BLOCK)
        cell.readers = warp_of(thread_of(cell.reader)) == warp_of(thread_of(now.number)) ? SOME_OF_WARP : SOME_OF_BLOCK;
    cell.reader = now.number;
    cell.read_epoch = now.epoch;
    cell.read_warp_epoch = now.warp_epoch;
    cell.read_place = now.place;
}

static void remember_write(Cell& cell, const Now& now, bool atomic) {
    cell.writer = now.number;
    cell.write_epoch = now.epoch;
    cell.write_warp_epoch = now.warp_epoch;
    cell.write_place = now.place;
    cell.by_atomic = atomic;
    cell.written = true;
    if (!atomic) cell.readers = NOBODY;
}

// ---- messages

static const char* who(uint32_t number) {
    static char text[96];
    uint32_t b = block_of(number), t = (uint32_t)thread_of(number);
    unsigned x = sim_block_size.x, y = sim_block_size.y, w = sim_grid_size.x, h = sim_grid_size.y;
    snprintf(text, sizeof text, "thread (%u,%u,%u) of block (%u,%u,%u)", t % x, t / x % y, t / (x * y), b % w, b / w % h,
             b / (w * h));
    return text;
}

static void* address_of(uint32_t place) { return place ? (void*)(launched->image + place) : nullptr; }
static const char* verb(int kind) { return kind == SIM_READ ? "reads" : kind == SIM_WRITE ? "writes" : "updates"; }

struct Place {                     // an address, as a person knows it
    const sim_region* region;      // one of the two
    const SharedArray* array;
    size_t offset;                 // in it

    const char* text() const {
        static char buffer[128];
        if (array) snprintf(buffer, sizeof buffer, "element %zu of shared memory %s", offset / array->element, array->name);
        else if (region->argument >= 0)
            snprintf(buffer, sizeof buffer, "element %zu of <array %d>", offset / region->element, region->argument);
        else snprintf(buffer, sizeof buffer, "byte %zu of a device array of %zu bytes", offset, region->size);
        return buffer;
    }
};

static void check_race(Cell& cell, int kind, const Now& now, const Place& place, void* pc) {
    bool both_atomic = kind == SIM_ATOMIC && cell.by_atomic;
    if (cell.in_flight)
        fail_at(pc, address_of(cell.write_place), "asynchronous copy: %s %s while a cp.async into it is under way", verb(kind), place.text());
    if (cell.writer && !both_atomic && !is_before(cell.writer, cell.write_epoch, cell.write_warp_epoch, now))
        fail_at(pc, address_of(cell.write_place), "race: %s %s, which %s wrote, with no barrier between", verb(kind), place.text(), who(cell.writer));
    if (kind == SIM_WRITE && !reads_are_before(cell, now)) {
        bool other = cell.reader == now.number;
        fail_at(pc, address_of(other ? cell.other_read_place : cell.read_place),
                "race: writes %s, which %s read, with no barrier between", place.text(),
                who(other ? cell.other_reader : cell.reader));
    }
    if (kind == SIM_READ) remember_read(cell, now);
    else remember_write(cell, now, kind == SIM_ATOMIC);
}

static Now now_at(void* pc) {
    return {number_of_current(), block.epoch, block.warp_epoch[warp_of(current->thread)], (uint32_t)((const char*)pc - launched->image)};
}

// ---- one access

static void access_shared(size_t offset, size_t size, int kind, void* pc) {
    const SharedArray* array = shared_array_at(offset, size);
    if (!array) fail_at(pc, nullptr, "out of bounds: %s %zu bytes of shared memory outside of every array", verb(kind), size);
    if (shared_shadow.granule > 1 && (offset % 4 || size % 4)) shared_shadow.split();
    Now now = now_at(pc);
    Place place{nullptr, array, offset - array->offset};
    for (size_t at = offset; at < offset + size; at += shared_shadow.granule) {
        Cell& cell = shared_shadow.at(at);
        if (cell.serial != block.serial) {
            cell = {};
            cell.serial = block.serial;
        }
        if (kind != SIM_WRITE && !cell.written && !cell.in_flight)
            fail_at(pc, nullptr, "uninitialised: %s %s, which nothing has written", verb(kind), place.text());
        check_race(cell, kind, now, place, pc);
    }
}

static bool contains(const sim_region& region, const char* start, size_t size) {
    return start >= region.start && start + size <= region.start + region.size;
}

[[noreturn]] static void out_of_bounds(const char* start, size_t size, int kind, void* pc) {
    if (owner_of_stack(start)) fail_at(pc, nullptr, "out of bounds: %s a local variable of another thread", verb(kind));
    const sim_region* nearest = nullptr;
    long best = 0;
    for (int i = 0; i < launched->regions; i++) {
        const sim_region& region = launched->region[i];
        long before = region.start - start, after = start - (region.start + (long)region.size), distance = std::max(before, after);
        if (!nearest || distance < best) nearest = &region, best = distance;
    }
    if (!nearest || best > 1 << 24 || nearest->argument < 0)
        fail_at(pc, nullptr, "out of bounds: %s %zu bytes at %p, which is in no array that the kernel was given", verb(kind), size, start);
    long offset = start - nearest->start;
    long element = offset >= 0 ? offset / nearest->element : -((-offset + nearest->element - 1) / nearest->element);
    fail_at(pc, nullptr, "out of bounds: %s element %ld of <array %d>, which has %zu", verb(kind), element, nearest->argument,
            nearest->size / nearest->element);
}

static size_t region_of(const char* start, size_t size, int kind, void* pc) {
    if (last_region < (size_t)launched->regions && contains(launched->region[last_region], start, size)) return last_region;
    for (int i = 0; i < launched->regions; i++)
        if (contains(launched->region[i], start, size)) return last_region = i;
    out_of_bounds(start, size, kind, pc);
}

static bool may_write(const char* start, size_t size) {  // the same memory may be another argument, too
    for (int i = 0; i < launched->regions; i++)
        if (contains(launched->region[i], start, size) && !launched->region[i].read_only) return true;
    return false;
}

static void access_global(const char* start, size_t size, int kind, void* pc) {
    size_t number = region_of(start, size, kind, pc);
    const sim_region& region = launched->region[number];
    Shadow& shadow = shadows[shadow_of[number]];
    size_t offset = start - shadow.start;
    Place place{&region, nullptr, (size_t)(start - region.start)};
    if (kind != SIM_READ && region.read_only && !may_write(start, size))
        fail_at(pc, nullptr, "read-only: writes %s, whose parameter is const", place.text());
    if (region.written) {
        if (kind != SIM_WRITE && memchr(region.written + offset, 0, size))
            fail_at(pc, nullptr, "uninitialised: %s %s, which nothing has written", verb(kind), place.text());
        if (kind != SIM_READ) memset(region.written + offset, 1, size);
    }
    if (shadow.granule > 1 && (offset % shadow.granule || size % shadow.granule)) shadow.split();
    Now now = now_at(pc);
    for (size_t at = offset; at < offset + size; at += shadow.granule) check_race(shadow.at(at), kind, now, place, pc);
}

void access(const void* address, size_t size, int kind, void* pc) {
    const char* start = (const char*)address;
    if (interrupt_pending()) check_interrupt();
    if (!current || !current->stack || report.failed || on_stack_of(current, start)) return;
    if (in_shared(start)) return access_shared(shared_offset(start), size, kind, pc);
    if (start >= launched->image && start < launched->image_end) return;  // __device__ and __constant__ variables
    if (start >= (const char*)&sim_thread_index && start < (const char*)(&sim_thread_index + 1)) return;
    if (start >= (const char*)&sim_block_index && start < (const char*)(&sim_block_index + 1)) return;
    if (start >= (const char*)&sim_block_size && start < (const char*)(&sim_block_size + 1)) return;
    if (start >= (const char*)&sim_grid_size && start < (const char*)(&sim_grid_size + 1)) return;
    access_global(start, size, kind, pc);
}

void mark_in_flight(const void* address, size_t size, bool in_flight) {
    size_t offset = shared_offset(address);
    for (size_t at = offset; at < offset + size; at += shared_shadow.granule) shared_shadow.at(at).in_flight = in_flight;
}

#endif

}  // namespace sim

extern "C" void sim_access(const void* address, size_t size, int kind, void* pc) { sim::access(address, size, kind, pc); }
