// Operator of the second stage: from 2D Gaussians to pixels, several layers at once.
#include <algorithm>

#include "kernels.h"
#include "ops.h"
#include "parallel.h"
#include "scratch.h"
#include "tile_lists.h"

namespace moegs {
namespace {

// One layer on its way through the steps of blend().
struct Job {
  Listed listed;
  TileLists lists;
  Tensors outputs, saved;
  std::vector<float*> planes;
  Blend blend{};

  Job(const Tensor* inputs, int64_t width, int64_t height)
      : listed{inputs[kMeans2d].size(0),       floats(inputs[kMeans2d]),       floats(inputs[kConics]),
               floats(inputs[kDepths]),        ints(inputs[kTiles]),           floats(inputs[kColours]),
               floats(inputs[kFeatures]),      int(inputs[kColours].size(1)),  int(inputs[kFeatures].size(1)),
               int(width),                     int(height)},
        lists(listed), outputs(kBlendOutputs), saved(kBlendSaved) {}

  void make_outputs(const float* background, const double* options) {
    const int64_t width = listed.width, height = listed.height;
    outputs[kColourImage] = empty({listed.colour_channels, height, width});
    outputs[kFeatureImage] = empty({listed.feature_channels, height, width});
    outputs[kAlphaImage] = empty({height, width});
    outputs[kDepthImage] = empty({height, width});
    saved[kLeft] = empty({height, width});
    planes = planes_of(outputs[kColourImage], outputs[kFeatureImage]);
    blend.channels = int(planes.size());
    blend.stride = listed.stride();
    blend.width = int(width);
    blend.height = int(height);
    blend.depth_kind = DepthKind(int(options[0]));
    blend.empty_depth = float(options[1]);
    blend.background = background;
    blend.planes = planes.data();
    blend.alpha = floats_to(outputs[kAlphaImage]);
    blend.depth = floats_to(outputs[kDepthImage]);
    blend.left = floats_to(saved[kLeft]);
  }

  void make_records() {
    saved[kOrder] = empty({lists.record_count()}, ScalarType::Int);
    saved[kRecords] = empty({lists.record_count(), listed.stride()});
    saved[kTileFirst] = empty({listed.tile_count() + 1}, ScalarType::Int);
    blend.records = floats(saved[kRecords]);
    blend.tile_first = ints(saved[kTileFirst]);
  }

  void make_instances(int64_t count, bool save) {
    saved[kInstances] = empty({count}, ScalarType::Int);
    saved[kSlotFirst] = empty({save ? lists.record_count() + 1 : 0}, ScalarType::Int);
    saved[kSlots] = empty({save ? count : 0}, ScalarType::Int);
    if (save) ints_to(saved[kSlotFirst])[0] = 0;
    blend.instances = ints(saved[kInstances]);
  }
};

// Every part of every layer as one list of items: work(job, part).
void for_all_parts(std::vector<Job>& jobs, int64_t (*parts)(const Job&),
                   const std::function<void(Job&, int64_t part, int worker)>& work) {
  std::vector<int64_t> first{0};
  for (const Job& job : jobs) first.push_back(first.back() + parts(job));
  parallel_for(first.back(), [&](int64_t item, int worker) {
    size_t layer = 0;
    while (item >= first[layer + 1]) ++layer;
    work(jobs[layer], item - first[layer], worker);
  });
}

int64_t chunks_of(const Job& job) { return job.lists.chunk_count(); }
int64_t tiles_of(const Job& job) { return job.listed.tile_count(); }

// Gives the most tiles that a layer's Gaussians reach in all; where they are more than `most`, nothing is listed.
int64_t make_lists(std::vector<Job>& jobs, bool save, int64_t most) {
  parallel_for(int64_t(jobs.size()), [&](int64_t i, int) { jobs[i].lists.sort(); });
  for (Job& job : jobs) job.make_records();
  for_all_parts(jobs, chunks_of, [](Job& job, int64_t chunk, int) {
    job.lists.fill_records(int(chunk), ints_to(job.saved[kOrder]), floats_to(job.saved[kRecords]));
  });
  std::vector<int64_t> counts;
  for (Job& job : jobs) counts.push_back(job.lists.count(ints_to(job.saved[kTileFirst])));
  const int64_t largest = counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
  if (largest > most) return largest;
  for (size_t i = 0; i < jobs.size(); ++i) jobs[i].make_instances(counts[i], save);
  for_all_parts(jobs, chunks_of, [save](Job& job, int64_t chunk, int) {
    job.lists.fill_instances(int(chunk), ints_to(job.saved[kInstances]),
                             save ? ints_to(job.saved[kSlotFirst]) : nullptr,
                             save ? ints_to(job.saved[kSlots]) : nullptr);
  });
  return largest;
}

}  // namespace

Tensors blend(Tensors inputs, Tensor options, int64_t width, int64_t height, bool save, int64_t most, int64_t isa) {
  const Kernels& kernel = kernels(int(isa));
  std::vector<Job> jobs;
  jobs.reserve(inputs.size() / kBlendInputs);
  int64_t scratch_floats = 0;
  for (size_t at = 0; at < inputs.size(); at += kBlendInputs) {
    jobs.emplace_back(&inputs[at], width, height);
    jobs.back().make_outputs(floats(inputs[at + kBackground]), read<double>(options) + 2 * (at / kBlendInputs));
    scratch_floats = std::max(scratch_floats, kernel.scratch_floats(jobs.back().blend.channels));
  }
  const int64_t largest = make_lists(jobs, save, most);
  if (largest > most) return {empty({0, largest})};
  Scratch scratch(scratch_floats);
  for_all_parts(jobs, tiles_of, [&](Job& job, int64_t tile, int worker) {
    kernel.blend(job.blend, tile, scratch.of(worker));
  });
  Tensors results;
  for (Job& job : jobs) {
    for (Tensor& output : job.outputs) results.push_back(output);
    for (Tensor& saved : job.saved) results.push_back(save ? saved : empty({0}));
  }
  return results;
}

}  // namespace moegs
