// Found by #include <cuda_bf16.h>; what it declares is already there (simulator.h).
