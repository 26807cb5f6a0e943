// The one way in which operators of both libraries are registered. Whatever is thrown in an operator ends here: the
// operator then gives an empty list or 0, and faults.py asks `last_failure` why. Where an exception left an operator,
// PyTorch 2.11.0 was seen to end the process with a segmentation fault on a machine with a GPU.
#pragma once

#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <type_traits>

#include "failure.h"
#include "tensors.h"

namespace moegs {

inline thread_local char failure[512];  // memory for more may be what is missing

// Keeps the reason for this thread's next `last_failure`.
inline void remember_failure(const char* why) noexcept { std::snprintf(failure, sizeof failure, "%s", why); }

// The bytes of the text of what made an operator fail on this thread, which is then forgotten; none: nothing did.
inline std::vector<int64_t> last_failure() {
  const auto* text = reinterpret_cast<const unsigned char*>(failure);
  const std::vector<int64_t> told(text, text + std::strlen(failure));
  failure[0] = 0;
  return told;
}

template <typename Result, typename... Given>
Result nothing_from(Result (*)(Given...)) {
  static_assert(!std::is_same_v<Result, Tensor>, "an operator fails by an empty list or by 0");
  return {};
}

template <auto function>
void guarded(StableIValue* stack, uint64_t inputs, uint64_t outputs) noexcept {
  try {
    return TORCH_BOX(function)(stack, inputs, outputs);
  } catch (const std::bad_alloc&) {
    remember_failure(kOutOfMemory);
  } catch (const std::exception& error) {
    remember_failure(error.what());
  } catch (...) {
    remember_failure("the rasterizer failed for an unknown reason");
  }
  stack[0] = torch::stable::detail::from(nothing_from(function));
}

template <auto function>
void implement(torch::stable::detail::StableLibrary& library, const char* name) {
  library.impl(name, &guarded<function>);
}

}  // namespace moegs
