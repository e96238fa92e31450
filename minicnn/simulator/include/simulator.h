// What g++ reads before a CUDA kernel: CUDA C++ as a library of C++17.
//
// A .cu file is ordinary C++ but for its keywords, its built-in variables and its built-in functions. Each of them is a
// macro, a variable or a function here, and what needs the other threads (barriers, shuffles, shared memory) calls the
// runtime (runtime.h; its code is in ../runtime). What NVRTC does not know, this header hides again (nvrtc.h), so that a
// kernel that compiles here compiles there.
#pragma once
#include "simulator/runtime.h"
#include "simulator/language.h"
#include "simulator/threads.h"
#include "simulator/atomics.h"
#include "simulator/arithmetic.h"
#include "simulator/halves.h"
#include "simulator/tensor_cores.h"
#include "simulator/exports.h"
#include "simulator/nvrtc.h"
