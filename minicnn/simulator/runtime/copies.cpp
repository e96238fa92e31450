// cp.async: copies from global to shared memory that are under way until their thread waits for them.
//
// On a GPU the bytes arrive some time between the copy and the wait. Here they arrive at the wait, and until then the
// destination holds NaN: a missing wait shows.
#include "machine.h"

#include <string.h>

namespace sim {

struct Copy {
    char* to;
    const char* from;
    size_t size, valid;
    void* pc;
};
struct Copies {
    std::vector<Copy> pending;      // oldest first
    std::vector<size_t> group_ends; // positions in pending where committed groups end
};
static std::vector<Copies> of_thread;
static bool used;

void prepare_copies() {
    if (used || (int)of_thread.size() != block.threads) of_thread.assign(block.threads, {});
    used = false;
}

static void arrive(const Copy& copy) {
    mark_in_flight(copy.to, copy.size, false);
    access(copy.to, copy.size, SIM_WRITE, copy.pc);  // now it happens
    memcpy(copy.to, copy.from, copy.valid);
    memset(copy.to + copy.valid, 0, copy.size - copy.valid);
}

}  // namespace sim

using namespace sim;

extern "C" void sim_copy_async(void* to, const void* from, size_t size, size_t valid, void* pc) {
    if ((uintptr_t)to % size || (valid && (uintptr_t)from % size))
        fail_at(pc, nullptr, "misaligned cp.async: both addresses must be multiples of its %zu bytes", size);
    if (!in_shared(to)) fail_at(pc, nullptr, "cp.async copies to shared memory only");
    if (valid) access(from, valid, SIM_READ, pc);
    access(to, size, SIM_WRITE, pc);
    mark_in_flight(to, size, true);
    memset(to, 0xff, size);
    of_thread[current->thread].pending.push_back({(char*)to, (const char*)from, size, valid, pc});
    used = true;
}

extern "C" void sim_copy_commit() {
    Copies& copies = of_thread[current->thread];
    copies.group_ends.push_back(copies.pending.size());
    used = true;
}

// Until at most `pending` committed groups are under way.
extern "C" void sim_copy_wait(int pending) {
    Copies& copies = of_thread[current->thread];
    if ((int)copies.group_ends.size() <= pending) return;
    size_t groups = copies.group_ends.size() - pending, end = copies.group_ends[groups - 1];
    for (size_t i = 0; i < end; i++) arrive(copies.pending[i]);
    copies.pending.erase(copies.pending.begin(), copies.pending.begin() + end);
    copies.group_ends.erase(copies.group_ends.begin(), copies.group_ends.begin() + groups);
    for (size_t& group_end : copies.group_ends) group_end -= end;
}
