// What the rooms of the runtime share: the block that runs, its threads, its shared memory.
//
//     fibers.cpp       threads: who runs, who waits, in which order
//     collectives.cpp  barriers, warp exchanges
//     shared.cpp       __shared__ memory
//     copies.cpp       cp.async
//     checker.cpp      who has touched which byte, and whether he might      (only in the check build)
//     hooks.cpp        how the compiler's instrumentation reaches it         (only in the check build)
//     signals.cpp      a crash or Ctrl-C inside of a kernel
//     launch.cpp       all blocks of a grid, one after the other; the report
//
// The threads of a block are fibers: stacks of their own, switched by hand, one at a time. A thread runs until it waits
// or returns; so the only places where another one can go on are barriers and warp operations, and the order in which
// threads run is ours to choose. A kernel without barriers runs all its threads on one fiber, in a loop.
#pragma once
#include "../include/simulator/runtime.h"

#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace sim {

constexpr size_t KB = 1024;
constexpr size_t STACK = 128 * KB;              // of a thread: its local arrays must fit
constexpr size_t PAGE = 4 * KB;
constexpr size_t STATIC_LIMIT = 48 * KB;        // of __shared__ declarations, as nvcc has it
constexpr size_t SHARED_LIMIT = 227 * KB;       // of a block on sm_90
constexpr int MOST_THREADS = 1024;              // of a block
constexpr int WARP = 32;

enum class State { RUNNING, AT_BARRIER, IN_WARP, IDLE };
enum Order { FORWARD, REVERSE, RANDOM };

struct Fiber {
    char* stack;
    int thread;               // of the block
    uint3 index;              // its threadIdx
    State state;
    const sim_site* site;     // where it waits
#if defined(__x86_64__)
    void* stack_pointer;
#else
    ucontext_t context;
#endif
};

struct Block {
    int threads;
    int started, returned;            // how many of them
    unsigned epoch;                   // how many barriers have been passed
    std::vector<unsigned> warp_epoch; // how many __syncwarp each warp has passed
    std::vector<unsigned> warp_returned;
    unsigned serial;                  // 1, 2, ...: which block of all that have run
    int barriers_waiting;
};

extern Block block;
extern Fiber* current;                // null: no kernel is running
extern const sim_launch* launched;
extern sim_report report;

// fibers.cpp
void prepare_fibers();                // for one block
void run_fibers();                    // until nobody can go on
void wait(State state, const sim_site* site);  // until wake()
void wake(Fiber** waiting, int count);
bool on_stack_of(const Fiber* fiber, const void* address);
Fiber* owner_of_stack(const void* address);
void reset_fibers();                  // after a failure: nobody will go on
void seed_order(uint64_t seed);
unsigned random_below(unsigned n);
void describe_waiting(char* text, size_t size);
[[noreturn]] void leave();            // to run_fibers(), for good

// collectives.cpp
void prepare_collectives();
bool complete_barrier();              // if everybody who lives has arrived

// shared.cpp
void prepare_shared();
void release_shared();
struct SharedArray {
    const void* key;
    const char* name;
    size_t offset, size, element;
};
const SharedArray* shared_array_at(size_t offset, size_t size);  // null: it lies in none
bool in_shared(const void* address);
size_t shared_offset(const void* address);

// copies.cpp
void prepare_copies();

// launch.cpp
[[noreturn]] void fail(const sim_site* site, const char* format, ...) __attribute__((format(printf, 2, 3)));
[[noreturn]] void fail_at(void* pc, void* other_pc, const char* format, ...) __attribute__((format(printf, 3, 4)));
inline int warp_of(int thread) { return thread / WARP; }

// signals.cpp
void catch_signals();
void release_signals();
bool interrupt_pending();             // Ctrl-C was pressed
void check_interrupt();               // and ends the thread that runs

// checker.cpp
void prepare_checker();               // for one launch
void release_checker();
void access(const void* address, size_t size, int kind, void* pc);
void mark_in_flight(const void* address, size_t size, bool in_flight);

}  // namespace sim
