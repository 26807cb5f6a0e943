// The little of PyTorch's stable ABI that the operators use. One binary serves torch 2.10 and later.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "failure.h"

namespace moegs {

using torch::stable::Tensor;
using Tensors = std::vector<Tensor>;
using torch::headeronly::ScalarType;

inline Tensor empty(std::initializer_list<int64_t> shape, ScalarType type = ScalarType::Float) {
  const std::vector<int64_t> sizes(shape);
  try {
    return torch::stable::empty({sizes.data(), sizes.size()}, type);
  } catch (const std::exception&) {  // its text names a line of PyTorch's, and no memory
    int64_t bytes = type == ScalarType::Double ? 8 : 4;
    for (const int64_t size : sizes) bytes *= size;
    throw Failure(std::string(kOutOfMemory) + ": the rasterizer asks for " + std::to_string(bytes) + " bytes");
  }
}

inline Tensor zeros(std::initializer_list<int64_t> shape) {
  Tensor result = empty(shape);
  return torch::stable::zero_(result);
}

template <typename T>
const T* read(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

inline const float* floats(const Tensor& tensor) { return read<float>(tensor); }
inline const int32_t* ints(const Tensor& tensor) { return read<int32_t>(tensor); }
inline float* floats_to(const Tensor& tensor) { return static_cast<float*>(tensor.mutable_data_ptr()); }
inline int32_t* ints_to(const Tensor& tensor) { return static_cast<int32_t*>(tensor.mutable_data_ptr()); }

// Empty tensors stand for absent ones in the operators' lists.
inline const float* floats_or_null(const Tensor& tensor) { return tensor.numel() ? floats(tensor) : nullptr; }

}  // namespace moegs
