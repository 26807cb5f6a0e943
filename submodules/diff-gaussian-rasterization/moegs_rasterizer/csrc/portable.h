// Arithmetic that one header gives to the CPU and, where nvcc compiles it, to the GPU.
#pragma once

#ifdef __CUDACC__
#define MOEGS_BOTH __host__ __device__ __forceinline__
#else
#define MOEGS_BOTH inline
#endif
