// Types in one word, as REAL has to be: `unsigned char(x)` is no C++. Named as NumPy names them.
#pragma once

typedef signed char int8;
typedef unsigned char uint8;
typedef short int16;
typedef unsigned short uint16;
typedef unsigned uint32;
typedef long long int64;
typedef unsigned long long uint64;
