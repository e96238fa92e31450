// A crash inside of a kernel becomes a report, and Ctrl-C ends it.
#include "machine.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

namespace sim {

constexpr int CRASHES[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
constexpr int COUNT = sizeof CRASHES / sizeof *CRASHES;
constexpr size_t HANDLER_STACK = 64 * KB;   // of its own: the crash may be an overflow of the thread's

static struct sigaction crash_before[COUNT], interrupt_before;
static pthread_t launching;
static volatile sig_atomic_t interrupted;

static bool launching_here;
static bool in_launch() { return launching_here && pthread_equal(pthread_self(), launching); }
static bool in_thread() { return current && current->stack; }

static void on_crash(int signal, siginfo_t* info, void*) {
    if (!in_launch() || !in_thread()) {  // not the kernel's: as if we were not here
        for (int i = 0; i < COUNT; i++) sigaction(CRASHES[i], &crash_before[i], nullptr);
        return;
    }
    const char* address = (const char*)info->si_addr;
    if (signal == SIGFPE) fail(nullptr, "division by zero");
    if (address >= current->stack - PAGE && address < current->stack)
        fail(nullptr, "stack overflow: the local variables of a thread need more than %zu KB", STACK / KB);
    fail(nullptr, "crash: the kernel used address %p, where there is no memory", info->si_addr);
}

static void on_interrupt(int signal, siginfo_t* info, void* context) {
    if (!in_launch()) {
        if (interrupt_before.sa_flags & SA_SIGINFO) interrupt_before.sa_sigaction(signal, info, context);
        else if (interrupt_before.sa_handler > SIG_IGN) interrupt_before.sa_handler(signal);
        return;
    }
    interrupted = 1;
#if defined(__x86_64__)
    const char* at = (const char*)((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
    if (in_thread() && at >= launched->image && at < launched->image_end) check_interrupt();  // a loop without end, perhaps
#endif
}

bool interrupt_pending() { return interrupted; }

void check_interrupt() {
    if (interrupted && in_thread()) fail(nullptr, "interrupted");
}

// Once for the process and once for each thread that launches: a system call costs as much as a small kernel.
static void install() {
    static thread_local char handler_stack[HANDLER_STACK];
    static thread_local bool has_stack;
    if (!has_stack) {
        stack_t stack = {};
        stack.ss_sp = handler_stack;
        stack.ss_size = HANDLER_STACK;
        sigaltstack(&stack, nullptr);
        has_stack = true;
    }
    static bool installed;
    if (installed) return;
    installed = true;
    struct sigaction action = {};
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    action.sa_sigaction = on_crash;
    for (int i = 0; i < COUNT; i++) sigaction(CRASHES[i], &action, &crash_before[i]);
    action.sa_sigaction = on_interrupt;
    sigaction(SIGINT, &action, &interrupt_before);
}

void catch_signals() {
    install();
    launching = pthread_self();
    launching_here = true;
    interrupted = 0;
}

void release_signals() { launching_here = false; }

}  // namespace sim
