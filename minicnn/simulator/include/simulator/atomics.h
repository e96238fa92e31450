// Atomics. The simulated device is one thread of the machine, so that an ordinary read and write is atomic.
#pragma once

#define SIM_ATOMIC(name, expression) \
    template <class T> SIM_OUTSIDE static T name(T* address, sim::same_as<T> value) { \
        sim_access(address, sizeof(T), SIM_ATOMIC, SIM_CALLER); \
        T old = *address; \
        *address = (expression); \
        return old; \
    }
SIM_ATOMIC(atomicAdd, old + value)
SIM_ATOMIC(atomicSub, old - value)
SIM_ATOMIC(atomicExch, value)
SIM_ATOMIC(atomicMax, old > value ? old : value)
SIM_ATOMIC(atomicMin, old < value ? old : value)
SIM_ATOMIC(atomicOr, old | value)
SIM_ATOMIC(atomicAnd, old & value)
SIM_ATOMIC(atomicXor, old ^ value)
SIM_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
SIM_ATOMIC(atomicDec, old == 0 || old > value ? value : old - 1)
#undef SIM_ATOMIC

template <class T>
SIM_OUTSIDE static T atomicCAS(T* address, sim::same_as<T> expected, sim::same_as<T> value) {
    sim_access(address, sizeof(T), SIM_ATOMIC, SIM_CALLER);
    T old = *address;
    if (old == expected) *address = value;
    return old;
}
