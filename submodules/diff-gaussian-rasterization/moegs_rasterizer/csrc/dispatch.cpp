// Which of the compiled instruction sets this processor can run.
#include "kernels.h"

namespace moegs {

#if defined(__x86_64__)

bool isa_supported(int isa) {
  __builtin_cpu_init();
  switch (isa) {
    case kPortable:
      return true;
    case kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && isa_supported(kAvx2);
    default:
      return false;
  }
}

const Kernels& kernels(int isa) {
  switch (isa) {
    case kAvx512:
      return kAvx512Kernels;
    case kAvx2:
      return kAvx2Kernels;
    default:
      return kPortableKernels;
  }
}

#else

bool isa_supported(int isa) { return isa == kPortable; }
const Kernels& kernels(int) { return kPortableKernels; }

#endif

}  // namespace moegs
