// Barriers and warp exchanges.
#include "machine.h"

namespace sim {

// ---- the barrier of a block

static struct {
    Fiber* waiting[MOST_THREADS];
    int count;
    const sim_site* site;
    int vote, votes;  // which one, and how many voted yes
    int outcome;
} barrier;

bool complete_barrier() {
    if (barrier.count == 0 || barrier.count + block.returned < block.threads) return false;
    if (block.returned)
        fail(barrier.site, "divergent barrier: %d of the block's %d threads returned without reaching this __syncthreads()",
             block.returned, block.threads);
    switch (barrier.vote) {
        case SIM_COUNT: barrier.outcome = barrier.votes; break;
        case SIM_ALL: barrier.outcome = barrier.votes == barrier.count; break;
        default: barrier.outcome = barrier.votes != 0;
    }
    block.epoch++;
    wake(barrier.waiting, barrier.count);
    barrier.count = barrier.votes = 0;
    return true;
}

// ---- warp operations: lanes that name the same mask meet

struct Meeting {
    unsigned mask, arrived;
    int round;                    // values are kept twice: a fast lane may begin the next round while a slow one reads
    const sim_site* site;
    uint64_t values[2][WARP];
    Fiber* waiting[WARP];
    int count;
};
static std::vector<std::vector<Meeting>> meetings;  // of each warp
constexpr size_t MOST_MASKS = 32;

void prepare_collectives() {
    barrier.count = barrier.votes = 0;
    meetings.resize(warp_of(block.threads - 1) + 1);
    for (auto& of_warp : meetings) {
        of_warp.clear();
        of_warp.reserve(MOST_MASKS);  // sim_exchange returns addresses inside
    }
}

static Meeting& meeting_for(unsigned mask, const sim_site* site) {
    auto& of_warp = meetings[warp_of(current->thread)];
    for (Meeting& meeting : of_warp)
        if (meeting.mask == mask) return meeting;
    if (of_warp.size() == MOST_MASKS) {
        for (Meeting& meeting : of_warp)
            if (!meeting.arrived) {
                meeting.mask = mask;
                return meeting;
            }
        fail(site, "a warp waits with more than %zu different masks at once", MOST_MASKS);
    }
    of_warp.push_back({});
    of_warp.back().mask = mask;
    return of_warp.back();
}

// Returns the meeting's lanes that exist, after all of them have come; shown[lane] are their values.
static unsigned meet(unsigned mask, uint64_t value, const sim_site* site, bool orders_memory, const uint64_t** shown) {
    int warp = warp_of(current->thread), lane = current->thread % WARP, lanes = block.threads - warp * WARP;
    unsigned exist = lanes >= WARP ? ~0u : (1u << lanes) - 1;
    if (!(mask >> lane & 1)) fail(site, "bad mask: 0x%08x does not name lane %d, which executes the operation", mask, lane);
    // Everybody's mask is usual in a last, partial warp too, where the hardware knows nobody else.
    if (mask & ~exist && mask != ~0u)
        fail(site, "bad mask: 0x%08x names lanes that a block of %d threads does not have", mask, block.threads);
    if (mask & block.warp_returned[warp])
        fail(site, "bad mask: 0x%08x names lanes 0x%08x, which have returned", mask, mask & block.warp_returned[warp]);
    Meeting& meeting = meeting_for(mask, site);
    if (meeting.arrived && meeting.site != site)
        fail(site, "divergent warp: other lanes of mask 0x%08x wait at line %d", mask, meeting.site->line);
    const uint64_t* values = meeting.values[meeting.round & 1];
    meeting.values[meeting.round & 1][lane] = value;
    meeting.site = site;
    meeting.arrived |= 1u << lane;
    meeting.waiting[meeting.count++] = current;
    if (meeting.arrived == (mask & exist)) {
        if (orders_memory) block.warp_epoch[warp]++;
        wake(meeting.waiting, meeting.count);
        meeting.arrived = 0;
        meeting.count = 0;
        meeting.round++;
    }
    wait(State::IN_WARP, site);
    *shown = values;
    return mask & exist;
}

}  // namespace sim

using namespace sim;

extern "C" int sim_barrier(const sim_site* site, int predicate, int vote) {
    if (barrier.count && barrier.site != site)
        fail(site, "divergent barrier: other threads of the block wait at the __syncthreads() of line %d", barrier.site->line);
    barrier.site = site;
    barrier.vote = vote;
    barrier.votes += predicate;
    barrier.waiting[barrier.count++] = current;
    wait(State::AT_BARRIER, site);
    return barrier.outcome;
}

extern "C" const uint64_t* sim_exchange(unsigned mask, uint64_t value, const sim_site* site, unsigned* lanes) {
    const uint64_t* shown;
    *lanes = meet(mask, value, site, false, &shown);
    return shown;
}

// Of the warp operations only this one orders memory.
extern "C" void sim_syncwarp(unsigned mask, const sim_site* site) {
    const uint64_t* shown;
    meet(mask, 0, site, true, &shown);
}
