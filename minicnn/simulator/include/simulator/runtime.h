// The seam: what a compiled kernel asks of the runtime, and what Python hands to it.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

struct sim_site { const char* file; int line; };  // where in the source something waits

enum sim_access_kind { SIM_READ, SIM_WRITE, SIM_ATOMIC };
enum sim_vote { SIM_NO_VOTE, SIM_COUNT, SIM_ALL, SIM_ANY };

extern "C" {
// Of the thread that runs now.
extern uint3 sim_thread_index, sim_block_index;
extern dim3 sim_block_size, sim_grid_size;
int sim_lane();

// __syncthreads and its relatives: returns the outcome of the vote.
int sim_barrier(const sim_site* site, int predicate, int vote);
// All lanes of a mask meet and show each other 8 bytes: returns the 32 values, and who took part.
const uint64_t* sim_exchange(unsigned mask, uint64_t value, const sim_site* site, unsigned* lanes);
void sim_syncwarp(unsigned mask, const sim_site* site);

// The block's object behind one __shared__ declaration, and its dynamic shared memory.
void* sim_shared(const void* key, const char* name, size_t size, size_t element, size_t alignment);
void* sim_dynamic_shared(const char* name, size_t element);

// cp.async: the bytes arrive when the thread waits, not before. Bytes from `valid` to `size` become zero.
void sim_copy_async(void* to, const void* from, size_t size, size_t valid, void* pc);
void sim_copy_commit();
void sim_copy_wait(int pending);

// An access that the compiler does not report (an atomic, a load of ldmatrix); does nothing in the fast build.
void sim_access(const void* address, size_t size, int kind, void* pc);
// End the launch with a message; site may be null.
void sim_fail(const sim_site* site, const char* message);
}

// ---- Python's side, in ctypes in launch.py: keep the two alike
struct sim_region {            // one array that the kernel may touch
    char* start;
    size_t size;
    char* memory;              // the allocation it lies in: views of one allocation share their history
    size_t memory_size;
    unsigned char* written;    // one flag for each byte of the allocation; null: everything has been written
    int argument;              // of the kernel, −1 if it is only reachable through a pointer in memory
    int element;               // bytes of an element
    int read_only;
    int guard_before, guard_after;  // bytes around the allocation that are 0xff and stay so
};
struct sim_launch {
    void (*call)(void**);
    void** arguments;
    unsigned grid[3], block[3];
    size_t dynamic_shared;
    int order;                 // 0 forward, 1 reverse, 2 random
    int regions;
    uint64_t seed;
    sim_region* region;
    const char *image, *image_end;  // the kernel's own globals lie here
};
struct sim_report {            // what went wrong
    int failed, interrupted, in_thread, line;
    unsigned block[3], thread[3];
    void *pc, *other_pc;       // places in the kernel's machine code: of this access, and of the one it collides with
    const char* file;
    char text[1024];
};
