// Backward operator of the second stage. Instances' sums are kept for a band of tiles at a time, to bound the memory.
#include "gather.h"
#include "kernels.h"
#include "ops.h"
#include "parallel.h"
#include "scratch.h"

namespace moegs {
namespace {

constexpr int64_t kGrain = 1024;                   // records a worker takes at a time

// One layer on its way through blend_backward().
struct Job {
  const Tensor *inputs, *results, *gradients;
  std::vector<float*> planes;
  std::vector<const float*> plane_gradients;
  Blend blend{};
  BlendGradients backward{};
  Tensors outputs;
  std::vector<float> sums;
  std::vector<int32_t> next;
  int64_t records = 0;
  int tiles = 0, floats_each = 0;

  Job(const Tensor* inputs, const Tensor* results, const Tensor* gradients)
      : inputs(inputs), results(results), gradients(gradients), outputs(kBlendGradients, empty({0})) {}

  const Tensor& saved(int which) const { return results[kBlendOutputs + which]; }

  void prepare(int64_t width, int64_t height, bool linear) {
    const int skipped = linear ? int(results[kColourImage].size(0)) : 0;
    planes = planes_of(results[kColourImage], results[kFeatureImage]);
    planes.erase(planes.begin(), planes.begin() + skipped);
    for (const int which : {kColourImage, kFeatureImage}) {
      if (linear && which == kColourImage) continue;
      const float* given = floats_or_null(gradients[which]);
      for (int64_t channel = 0; channel < results[which].size(0); ++channel)
        plane_gradients.push_back(given ? given + channel * width * height : nullptr);
    }
    blend.records = floats(saved(kRecords));
    blend.stride = int(saved(kRecords).size(1));
    blend.tile_first = ints(saved(kTileFirst));
    blend.instances = ints(saved(kInstances));
    blend.width = int(width);
    blend.height = int(height);
    blend.channels = int(planes.size());
    blend.planes = planes.data();
    blend.left = floats_to(saved(kLeft));
    backward = {&blend, blend.channels, plane_gradients.data(), floats_or_null(gradients[kAlphaImage])};
    floats_each = blend.channels + (linear ? 0 : kMoments);
    records = saved(kOrder).size(0);
    tiles = int(saved(kTileFirst).size(0)) - 1;
    sums.assign(records * floats_each, 0.0f);
    next.assign(ints(saved(kSlotFirst)), ints(saved(kSlotFirst)) + records);
    make_outputs(linear);
  }

  void make_outputs(bool linear) {
    const int64_t rows = inputs[kMeans2d].size(0);
    outputs[kGradFeatures] = zeros({rows, inputs[kFeatures].size(1)});
    if (linear) return;
    outputs[kGradMeans2d] = zeros({rows, 2});
    outputs[kGradConics] = zeros({rows, 4});
    outputs[kGradColours] = zeros({rows, inputs[kColours].size(1)});
  }

  void write(int64_t begin, int64_t end, bool linear) const {
    const FootprintGradients to{linear ? nullptr : floats_to(outputs[kGradMeans2d]),
                                linear ? nullptr : floats_to(outputs[kGradConics]),
                                linear ? nullptr : floats_to(outputs[kGradColours]),
                                floats_to(outputs[kGradFeatures]),
                                int(inputs[kColours].size(1)),
                                int(inputs[kFeatures].size(1))};
    write_gradients(ints(saved(kOrder)), floats(inputs[kConics]), sums.data(), floats_each, begin, end, to);
  }
};

// Consecutive tiles of one layer whose instances' sums lie together, from `offset` on.
struct Stretch {
  Job* job;
  int first_tile, last_tile;  // [first, last)
  int64_t offset;

  int32_t first_place() const { return job->blend.tile_first[first_tile]; }
  int32_t last_place() const { return job->blend.tile_first[last_tile]; }
};
using Band = std::vector<Stretch>;

// Bands of at most band_floats (one tile where that alone exceeds it), which together hold every tile of every layer.
std::vector<Band> bands_of(std::vector<Job>& jobs, int64_t band_floats) {
  std::vector<Band> bands(1);
  int64_t used = 0;
  for (Job& job : jobs) {
    Stretch stretch{&job, 0, 0, used};
    for (int tile = 0; tile < job.tiles; ++tile) {
      const int64_t floats = int64_t(job.blend.tile_first[tile + 1] - job.blend.tile_first[tile]) * job.floats_each;
      if (used > 0 && used + floats > band_floats) {
        stretch.last_tile = tile;
        bands.back().push_back(stretch);
        bands.emplace_back();
        stretch = {&job, tile, tile, 0};
        used = 0;
      }
      used += floats;
    }
    stretch.last_tile = job.tiles;
    bands.back().push_back(stretch);
  }
  return bands;
}

int64_t floats_in(const Band& band) {
  const Stretch& last = band.back();
  return last.offset + int64_t(last.last_place() - last.first_place()) * last.job->floats_each;
}

// Every part of every stretch as one list of items: work(stretch, part).
void for_all_parts(const Band& band, int64_t (*parts)(const Stretch&),
                   const std::function<void(const Stretch&, int64_t part, int worker)>& work) {
  std::vector<int64_t> first{0};
  for (const Stretch& stretch : band) first.push_back(first.back() + parts(stretch));
  parallel_for(first.back(), [&](int64_t item, int worker) {
    size_t at = 0;
    while (item >= first[at + 1]) ++at;
    work(band[at], item - first[at], worker);
  });
}

int64_t tiles_of(const Stretch& stretch) { return stretch.last_tile - stretch.first_tile; }
int64_t grains_of(const Stretch& stretch) { return (stretch.job->records + kGrain - 1) / kGrain; }

void run_band(const Band& band, const Kernels& kernel, bool linear, const Scratch& scratch, float* buffer) {
  for_all_parts(band, tiles_of, [&](const Stretch& stretch, int64_t part, int worker) {
    const Job& job = *stretch.job;
    const int64_t tile = stretch.first_tile + part;
    float* sums = buffer + stretch.offset +
                  int64_t(job.blend.tile_first[tile] - stretch.first_place()) * job.floats_each;
    (linear ? kernel.blend_backward_linear : kernel.blend_backward)(job.backward, tile, scratch.of(worker), sums);
  });
  for_all_parts(band, grains_of, [&](const Stretch& stretch, int64_t part, int) {
    Job& job = *stretch.job;
    const Gather gather{ints(job.saved(kSlotFirst)), ints(job.saved(kSlots)), job.next.data(), job.sums.data(),
                        job.floats_each};
    const int64_t begin = part * kGrain, end = std::min(begin + kGrain, job.records);
    gather.add(begin, end, buffer + stretch.offset, stretch.first_place(), stretch.last_place());
    if (stretch.last_tile == job.tiles) job.write(begin, end, linear);
  });
}

}  // namespace

Tensors blend_backward(Tensors inputs, Tensors results, Tensors gradients, int64_t width, int64_t height, bool linear,
                       int64_t band_floats, int64_t isa) {
  const Kernels& kernel = kernels(int(isa));
  std::vector<Job> jobs;
  const size_t layers = inputs.size() / kBlendInputs;
  jobs.reserve(layers);
  int64_t scratch_floats = 0;
  for (size_t i = 0; i < layers; ++i) {
    jobs.emplace_back(&inputs[i * kBlendInputs], &results[i * (kBlendOutputs + kBlendSaved)],
                      &gradients[i * kBlendOutputs]);
    jobs.back().prepare(width, height, linear);
    scratch_floats = std::max(scratch_floats, kernel.scratch_floats(jobs.back().blend.channels));
  }
  const std::vector<Band> bands = bands_of(jobs, band_floats);
  int64_t most = 0;
  for (const Band& band : bands) most = std::max(most, floats_in(band));
  const Scratch scratch(scratch_floats);
  const std::unique_ptr<float[]> buffer(new float[most]);
  for (const Band& band : bands) run_band(band, kernel, linear, scratch, buffer.get());
  Tensors outputs;
  for (Job& job : jobs) outputs.insert(outputs.end(), job.outputs.begin(), job.outputs.end());
  return outputs;
}

}  // namespace moegs
