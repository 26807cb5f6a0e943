// What the two blending operators share: memory for workers, and images as lists of planes.
#pragma once

#include <algorithm>
#include <memory>
#include <new>

#include "parallel.h"
#include "tensors.h"

namespace moegs {

// Floats for each worker, aligned to 64 bytes as the widest vectors ask.
class Scratch {
 public:
  explicit Scratch(int64_t floats_each)
      : each_((floats_each + 15) / 16 * 16),
        memory_(static_cast<float*>(::operator new(size_t(each_) * worker_count() * sizeof(float), kAlignment))) {}
  ~Scratch() { ::operator delete(memory_, kAlignment); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* of(int worker) const { return memory_ + each_ * worker; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  int64_t each_;
  float* memory_;
};

// Planes of a colour image [k, h, w], then of a feature image [c, h, w].
inline std::vector<float*> planes_of(const Tensor& colours, const Tensor& features) {
  std::vector<float*> planes;
  for (const Tensor* image : {&colours, &features}) {
    for (int64_t channel = 0; channel < image->size(0); ++channel)
      planes.push_back(floats_to(*image) + channel * image->size(1) * image->size(2));
  }
  return planes;
}

}  // namespace moegs
