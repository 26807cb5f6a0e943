// Checks of a call's input by shape, type and device, as validation.py makes them for the other back-ends: here they
// cost less than a microsecond a tensor. The camera's numbers are those of views.py, in the same arithmetic. What does not
// fit is told by `false`, not thrown: validation.py then finds words for it.
#include "inputs.h"

#include <cmath>

namespace moegs::gpu {
namespace {

constexpr double kLastRowTolerance = 1e-5;  // validation.py: LAST_ROW_TOLERANCE

using Matrix = double[4][4];

// False where it is no 4x4 matrix of floats or doubles on the CPU.
bool read_matrix(const Tensor& tensor, Matrix& matrix) {
  if (tensor.dim() != 2 || tensor.size(0) != 4 || tensor.size(1) != 4) return false;
  const ScalarType type = tensor.scalar_type();
  if (!tensor.is_cpu() || (type != ScalarType::Float && type != ScalarType::Double)) return false;
  const int64_t down = tensor.stride(0), right = tensor.stride(1);
  for (int row = 0; row < 4; ++row) {
    for (int column = 0; column < 4; ++column) {
      const int64_t at = row * down + column * right;
      matrix[row][column] = type == ScalarType::Float ? double(read<float>(tensor)[at]) : read<double>(tensor)[at];
    }
  }
  return true;
}

// Of the upper left 3x3 part.
double determinant(const Matrix& m) {
  const double first = m[1][1] * m[2][2] - m[1][2] * m[2][1], second = m[1][0] * m[2][2] - m[1][2] * m[2][0];
  return m[0][0] * first - m[0][1] * second + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
}

// True for an invertible [R t; 0 1] matrix.
bool is_pose(const Matrix& m) {
  bool fits = determinant(m) != 0;
  for (int row = 0; row < 4; ++row) {
    for (int column = 0; column < 4; ++column) fits = fits && std::isfinite(m[row][column]);
  }
  for (int column = 0; column < 4; ++column)
    fits = fits && std::fabs(m[3][column] - (column == 3)) <= kLastRowTolerance;
  return fits;
}

// The camera's centre -M^-1 t by Cramer's rule: M need not be a rotation.
void find_centre(const Matrix& m, double (&centre)[3]) {
  const double over = -1 / determinant(m);
  for (int axis = 0; axis < 3; ++axis) {
    Matrix replaced{};  // transposed, which has the same determinant
    for (int k = 0; k < 3; ++k) {
      for (int row = 0; row < 3; ++row) replaced[k][row] = m[row][k == axis ? 3 : k];
    }
    centre[axis] = determinant(replaced) * over;
  }
}

// Fills in the camera of a view; false where it is none.
bool look_from(View& view, const Tensor& world_to_camera, const std::vector<double>& pinhole, int64_t width,
               int64_t height) {
  bool fits = width >= 1 && height >= 1 && pinhole.size() == kPinhole;
  for (const double value : pinhole) fits = fits && std::isfinite(value);
  Matrix matrix;
  if (!fits || !(pinhole[kFx] > 0 && pinhole[kFy] > 0)) return false;
  if (!read_matrix(world_to_camera, matrix) || !is_pose(matrix)) return false;
  for (int row = 0; row < 3; ++row) {
    for (int column = 0; column < 3; ++column) view.rotation[3 * row + column] = matrix[row][column];
    view.translation[row] = matrix[row][3];
  }
  find_centre(matrix, view.centre);
  view.fx = pinhole[kFx], view.fy = pinhole[kFy], view.cx = pinhole[kCx], view.cy = pinhole[kCy];
  view.width = double(width), view.height = double(height);
  return true;
}

View with_settings(View view, const double* settings) {
  view.low_pass = settings[kLowPass], view.near = settings[kNear], view.far = settings[kFar];
  view.ndc_limit = settings[kNdcLimit];
  view.compensate = settings[kCompensate], view.inria_tiles = settings[kInriaTiles];
  return view;
}

// True for a contiguous float32 tensor of a shape on a device; a size of -1 stands for any.
bool is_tensor(const Tensor& tensor, int device, bool on_cpu, std::initializer_list<int64_t> shape) {
  const auto sizes = tensor.sizes();
  bool fits = sizes.size() == shape.size() && tensor.scalar_type() == ScalarType::Float && tensor.is_contiguous();
  fits = fits && (on_cpu ? tensor.is_cpu() : tensor.is_cuda()) && tensor.get_device_index() == device;
  size_t dim = 0;
  for (const int64_t size : shape) fits = fits && (size < 0 || sizes[dim] == size), ++dim;
  return fits;
}

// Where a call's tensors lie.
struct Place {
  int device;
  bool on_cpu;  // for tests of machines without a GPU
};

// Checks the tensors of layer i and notes them; false where one does not fit.
bool read_layer(Input& input, int i, const Tensor* of, int64_t kind, const Place& place) {
  if (of[kMeans].dim() != 2) return false;
  const int64_t n = of[kMeans].size(0);
  const bool sh = kind & kHasSh, colours = kind & kHasColours, features = kind & kHasFeatures, raw = kind & kIsRaw;
  const auto has = [&](GivenTensor which, std::initializer_list<int64_t> shape) {
    return is_tensor(of[which], place.device, place.on_cpu, shape);
  };
  bool fits = sh != colours && (sh || !raw);
  fits = fits && has(kMeans, {n, 3}) && has(kScales, {n, 3}) && has(kQuats, {n, 4}) && has(kOpacities, {n});
  fits = fits && (!sh || has(kSh, {n, raw ? 1 : -1, 3})) && (!raw || has(kColours, {n, -1, 3}));
  fits = fits && (!colours || has(kColours, {n, -1})) && (!features || has(kFeatures, {n, -1}));
  if (!fits) return false;
  const int coefficients = raw ? 1 + int(of[kColours].size(1)) : sh ? int(of[kSh].size(1)) : 0;
  if (sh && coefficients != 1 && coefficients != 4 && coefficients != 9 && coefficients != 16) return false;
  Carried& layer = input.carried[i];
  layer.colour_channels = sh ? 3 : int(of[kColours].size(1));
  layer.feature_channels = features ? int(of[kFeatures].size(1)) : 0;
  if (!has(kBackground, {layer.channels()})) return false;
  layer.colours = colours ? floats(of[kColours]) : nullptr;
  layer.features = features ? floats(of[kFeatures]) : nullptr;
  layer.background = floats(of[kBackground]);
  layer.first_value = input.values;
  input.values += n * layer.groups();
  input.first[i + 1] = input.first[i] + int(n);
  const float* const of_sh = sh && n ? floats(of[kSh]) : nullptr;
  input.gaussians[i] = {floats(of[kMeans]),     floats(of[kScales]), floats(of[kQuats]),
                        floats(of[kOpacities]), of_sh,               coefficients,
                        raw,                    raw ? floats(of[kColours]) : nullptr};
  return true;
}

}  // namespace

bool read_input(Input& input, const Tensors& given, const std::vector<int64_t>& kinds, const Tensor& world_to_camera,
                const std::vector<double>& pinhole, const std::vector<double>& settings, int64_t width,
                int64_t height) {
  input.layers = int(kinds.size());
  if (input.layers < 1 || input.layers > kMostLayers) return false;
  if (given.size() != kinds.size() * kGivenTensors || settings.size() != kinds.size() * kSettings) return false;
  View view{};
  if (!look_from(view, world_to_camera, pinhole, width, height)) return false;
  const Place place{given[0].get_device_index(), given[0].is_cpu()};
  for (int i = 0; i < input.layers; ++i) {
    if (!read_layer(input, i, &given[i * kGivenTensors], kinds[i], place)) return false;
    const double* setting = &settings[size_t(i) * kSettings];
    input.views[i] = with_settings(view, setting);
    input.depth_kinds[i] = DepthKind(int(setting[kDepthOf]));
    input.empty_depths[i] = float(setting[kEmptyDepth]);
  }
  input.rows = input.first[input.layers];
  return true;
}

}  // namespace moegs::gpu
