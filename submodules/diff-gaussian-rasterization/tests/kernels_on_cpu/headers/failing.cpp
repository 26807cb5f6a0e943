// The linker lets the operators call this in place of PyTorch's own: player.py.
#include "failing.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

extern "C" AOTITorchError __real_aoti_torch_empty_strided(int64_t, const int64_t*, const int64_t*, int32_t, int32_t,
                                                          int32_t, AtenTensorHandle*);

extern "C" AOTITorchError __wrap_aoti_torch_empty_strided(int64_t dims, const int64_t* sizes, const int64_t* strides,
                                                          int32_t type, int32_t device_type, int32_t device,
                                                          AtenTensorHandle* made) {
  if (!failing::may_succeed()) return AOTI_TORCH_FAILURE;
  return __real_aoti_torch_empty_strided(dims, sizes, strides, type, device_type, device, made);
}
