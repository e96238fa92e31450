// Found by #include <cuda_fp16.h>; what it declares is already there (simulator.h).
