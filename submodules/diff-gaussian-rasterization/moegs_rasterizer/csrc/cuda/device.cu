#include "device.cuh"

namespace moegs {

DeviceScope::DeviceScope(int device) {
  check(cudaGetDevice(&before_), "asking for the device");
  check(cudaSetDevice(device), "choosing the device");
}

DeviceScope::~DeviceScope() { cudaSetDevice(before_); }

void fill_zero(void* memory, int64_t bytes, Stream stream) {
  if (bytes > 0) check(cudaMemsetAsync(memory, 0, size_t(bytes), stream_of(stream)), "clearing sums");
}

void copy_in(void* to, const void* from, int64_t bytes, Stream stream) {
  check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyHostToDevice, stream_of(stream)), "copying views");
}

}  // namespace moegs
