// Threads: who runs, who waits, in which order.
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>

extern "C" {
uint3 sim_thread_index, sim_block_index;
dim3 sim_block_size, sim_grid_size;
int sim_lane() { return sim::current->thread % sim::WARP; }
}

namespace sim {

Block block;
Fiber* current;

static Fiber outside;                  // the caller of run_fibers(), on its own stack
static std::vector<Fiber*> fibers;     // all that have ever been made
static std::vector<Fiber*> idle;
static std::vector<int> order;         // in which the threads of a block start
static Fiber* ready[MOST_THREADS];     // woken: a queue, as a ring
static unsigned first_ready, count_ready;
static uint64_t random_state;

void seed_order(uint64_t seed) { random_state = 88172645463325252ull ^ (seed * 0x9E3779B97F4A7C15ull); }

// xorshift64: Marsaglia 2003
unsigned random_below(unsigned n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state >> 11) % n);
}

// ---- switching

#if defined(__x86_64__)
// Save what a function must preserve on this stack, go to the other stack, restore it from there.
extern "C" void sim_switch(void** from, void* to);
asm(R"(
.text
.local sim_switch
.type sim_switch, @function
sim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
#endif

static void switch_to(Fiber* to) {
    Fiber* from = current;
    if (from == to) return;
    current = to;
    if (to != &outside) sim_thread_index = to->index;
#if defined(__x86_64__)
    sim_switch(&from->stack_pointer, to->stack_pointer);
#else
    swapcontext(&from->context, &to->context);
#endif
    check_interrupt();
}

static void run_threads();

// A stack on which the first switch enters run_threads().
static void begin(Fiber* fiber) {
    fiber->state = State::IDLE;
#if defined(__x86_64__)
    void** top = (void**)(fiber->stack + STACK);
    *--top = nullptr;  // keeps the stack aligned as the ABI has it at a function's entry
    *--top = (void*)run_threads;
    for (int registers = 0; registers < 6; registers++) *--top = nullptr;
    fiber->stack_pointer = top;
#else
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK;
    makecontext(&fiber->context, run_threads, 0);
#endif
}

static Fiber* idle_fiber() {
    if (!idle.empty()) {
        Fiber* fiber = idle.back();
        idle.pop_back();
        return fiber;
    }
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char* memory = (char*)mmap(nullptr, STACK + PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) abort();
    mprotect(memory, PAGE, PROT_NONE);  // a stack that overflows stops here
    Fiber* fiber = new Fiber();
    fiber->stack = memory + PAGE;
    fibers.push_back(fiber);
    begin(fiber);
    return fiber;
}

bool on_stack_of(const Fiber* fiber, const void* address) {
    return address >= fiber->stack - PAGE && address < fiber->stack + STACK;
}

Fiber* owner_of_stack(const void* address) {
    for (Fiber* fiber : fibers)
        if (on_stack_of(fiber, address)) return fiber;
    return nullptr;
}

void reset_fibers() {
    idle.clear();
    for (Fiber* fiber : fibers) {
        begin(fiber);
        idle.push_back(fiber);
    }
}

// ---- scheduling

void prepare_fibers() {
    first_ready = count_ready = 0;
    order.resize(block.threads);
    for (int i = 0; i < block.threads; i++) order[i] = launched->order == REVERSE ? block.threads - 1 - i : i;
    if (launched->order == RANDOM)
        for (int i = block.threads; i > 1; i--) std::swap(order[i - 1], order[random_below(i)]);
}

static bool all_started() { return block.started == block.threads; }

static Fiber* take_ready() {
    if (launched->order == RANDOM && count_ready > 1)
        std::swap(ready[first_ready], ready[(first_ready + random_below(count_ready)) % MOST_THREADS]);
    Fiber* fiber = ready[first_ready];
    first_ready = (first_ready + 1) % MOST_THREADS;
    count_ready--;
    fiber->state = State::RUNNING;
    return fiber;
}

// Who goes on when the current thread waits or is done.
static Fiber* next_fiber() {
    if (count_ready == 0 && all_started()) complete_barrier();
    bool start_another = !all_started() && (count_ready == 0 || (launched->order == RANDOM && random_below(2)));
    if (start_another) return idle_fiber();
    return count_ready ? take_ready() : &outside;
}

void wait(State state, const sim_site* site) {
    current->state = state;
    current->site = site;
    switch_to(next_fiber());
    sim_thread_index = current->index;
}

void wake(Fiber** waiting, int count) {
    if (launched->order == RANDOM)
        for (int i = count; i > 1; i--) std::swap(waiting[i - 1], waiting[random_below(i)]);
    for (int i = 0; i < count; i++) ready[(first_ready + count_ready++) % MOST_THREADS] = waiting[i];
}

// What a fiber does: run threads from beginning to end while there are any to start.
static void run_threads() {
    for (;;) {
        Fiber* self = current;
        while (!all_started()) {
            check_interrupt();
            int thread = order[block.started++];
            unsigned x = sim_block_size.x, y = sim_block_size.y;
            self->thread = thread;
            self->state = State::RUNNING;
            self->index = sim_thread_index = {thread % x, thread / x % y, thread / (x * y)};
            launched->call(launched->arguments);
            block.returned++;
            block.warp_returned[warp_of(thread)] |= 1u << thread % WARP;
        }
        Fiber* next = next_fiber();  // may fail, in the name of this thread
        self->state = State::IDLE;
        idle.push_back(self);
        switch_to(next);
    }
}

void run_fibers() {
    current = &outside;
    switch_to(idle_fiber());
    current = nullptr;
}

void leave() {
    switch_to(&outside);
    abort();
}

void describe_waiting(char* text, size_t size) {
    size_t used = 0;
    int told = 0, waiting = 0;
    for (Fiber* fiber : fibers) {
        if (fiber->state != State::AT_BARRIER && fiber->state != State::IN_WARP) continue;
        if (waiting++ && told == 4) continue;
        const char* what = fiber->state == State::AT_BARRIER ? "__syncthreads" : "a warp operation";
        const char* name = strrchr(fiber->site->file, '/');
        used += snprintf(text + used, size - used, "%s thread (%u,%u,%u) at %s, %s:%d", told ? ";" : "", fiber->index.x,
                         fiber->index.y, fiber->index.z, what, name ? name + 1 : fiber->site->file, fiber->site->line);
        if (++told == 4 || used + 200 > size) told = 4;
    }
}

}  // namespace sim
