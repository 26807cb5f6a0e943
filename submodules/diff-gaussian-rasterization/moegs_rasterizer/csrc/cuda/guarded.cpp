#include "guarded.h"

#include <cstdio>
#include <cstring>

namespace moegs::gpu {
namespace {

thread_local char failure[512];  // memory for more may be what is missing

}  // namespace

void remember_failure(const char* why) noexcept { std::snprintf(failure, sizeof failure, "%s", why); }

std::vector<int64_t> last_failure() {
  const auto* text = reinterpret_cast<const unsigned char*>(failure);
  const std::vector<int64_t> told(text, text + std::strlen(failure));
  failure[0] = 0;
  return told;
}

}  // namespace moegs::gpu
