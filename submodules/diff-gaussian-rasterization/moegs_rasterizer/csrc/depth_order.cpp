#include "depth_order.h"

#include <array>
#include <cstring>
#include <utility>

namespace moegs {
namespace {

constexpr int kDigitBits = 11, kDigits = 3, kBuckets = 1 << kDigitBits;

struct Key {
  uint32_t bits;
  int32_t row;
};

uint32_t digit(const Key& key, int place) { return key.bits >> (kDigitBits * place) & (kBuckets - 1); }

}  // namespace

std::vector<int32_t> depth_order(const float* depths, const int32_t* listed, int64_t count) {
  std::vector<Key> keys;
  keys.reserve(count);
  std::vector<std::array<uint32_t, kBuckets>> places(kDigits);
  for (auto& place : places) place.fill(0);
  for (int64_t i = 0; i < count; ++i) {
    if (listed[4 * i + 2] <= listed[4 * i]) continue;
    Key key{0, int32_t(i)};
    std::memcpy(&key.bits, depths + i, sizeof key.bits);
    for (int place = 0; place < kDigits; ++place) ++places[place][digit(key, place)];
    keys.push_back(key);
  }
  std::vector<Key> sorted(keys.size());
  for (int place = 0; place < kDigits && !keys.empty(); ++place) {
    auto& start = places[place];
    if (start[digit(keys[0], place)] == keys.size()) continue;  // all equal here: nothing would move
    uint32_t total = 0;
    for (uint32_t& entry : start) total += std::exchange(entry, total);
    for (const Key& key : keys) sorted[start[digit(key, place)]++] = key;
    keys.swap(sorted);
  }
  std::vector<int32_t> rows(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) rows[i] = keys[i].row;
  return rows;
}

}  // namespace moegs
