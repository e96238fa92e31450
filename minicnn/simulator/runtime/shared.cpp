// __shared__ memory: one arena, filled with NaN before each block. What a kernel does not write, it must not use.
#include "machine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>

namespace sim {

constexpr size_t GAP = 64;             // between two arrays, so that the end of one is not the beginning of the next
constexpr size_t ARENA = 256 * KB + 64 * KB;

static char* arena;
static size_t end_of_arrays;           // of this block
static size_t dirty = ARENA;           // up to here the arena may hold what a block wrote
static std::vector<SharedArray> arrays;
static SharedArray dynamic;

void prepare_shared() {
    if (!arena) {
        arena = (char*)mmap(nullptr, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (arena == MAP_FAILED) abort();
    }
    dirty = std::max(dirty, std::min(ARENA, launched->dynamic_shared + GAP));
    memset(arena, 0xff, dirty);
    dirty = 0;
    arrays.clear();
    dynamic = {nullptr, "dynamic shared memory", 0, launched->dynamic_shared, 4};
    end_of_arrays = launched->dynamic_shared ? launched->dynamic_shared + GAP : 0;
}

void release_shared() { dirty = std::max(dirty, end_of_arrays); }

bool in_shared(const void* address) { return address >= arena && address < arena + ARENA; }
size_t shared_offset(const void* address) { return (const char*)address - arena; }

const SharedArray* shared_array_at(size_t offset, size_t size) {
    if (offset + size <= dynamic.size) return &dynamic;
    for (const SharedArray& array : arrays)
        if (offset >= array.offset && offset + size <= array.offset + array.size) return &array;
    return nullptr;
}

}  // namespace sim

using namespace sim;

extern "C" void* sim_shared(const void* key, const char* name, size_t size, size_t element, size_t alignment) {
    size_t total = 0;
    for (const SharedArray& array : arrays) {
        if (array.key == key) return arena + array.offset;
        total += array.size;
    }
    total += size;
    if (total > STATIC_LIMIT) fail(nullptr, "%zu bytes of static __shared__ memory are more than 48 KB (at %s)", total, name);
    if (total + launched->dynamic_shared > SHARED_LIMIT)
        fail(nullptr, "%zu bytes of shared memory are more than the 227 KB of a block", total + launched->dynamic_shared);
    alignment = std::max(alignment, (size_t)16);
    size_t offset = (end_of_arrays + alignment - 1) / alignment * alignment;
    if (offset + size + GAP > ARENA) fail(nullptr, "too many __shared__ arrays");
    arrays.push_back({key, name, offset, size, element});
    end_of_arrays = offset + size + GAP;
    return arena + offset;
}

extern "C" void* sim_dynamic_shared(const char* name, size_t element) {
    if (!dynamic.size) fail(nullptr, "extern __shared__ %s[]: the launch gives no dynamic shared memory", name);
    dynamic.name = name;
    dynamic.element = element;
    return arena;
}
