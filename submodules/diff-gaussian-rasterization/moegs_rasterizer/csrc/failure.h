// How anything in an operator fails, without PyTorch.
#pragma once

#include <stdexcept>
#include <string>

namespace moegs {

// Its text reaches Python in one line: guarded.h catches it, as nothing may be thrown out of an operator.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

constexpr const char* kOutOfMemory = "out of memory";  // faults.py reads it

inline void require(bool holds, const char* otherwise) {
  if (!holds) throw Failure(otherwise);
}

}  // namespace moegs
