#include "device.cuh"

namespace moegs {

DeviceScope::DeviceScope(int device) {
  check(cudaGetDevice(&before_), "asking for the device");
  check(cudaSetDevice(device), "choosing the device");
}

DeviceScope::~DeviceScope() { cudaSetDevice(before_); }

}  // namespace moegs
