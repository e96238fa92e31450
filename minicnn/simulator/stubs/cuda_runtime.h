// Found by #include <cuda_runtime.h>; what it declares is already there (simulator.h).
