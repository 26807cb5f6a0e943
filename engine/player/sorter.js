// A worker that puts the splats of a moment in order, the farthest first, each expert's apart.
"use strict";

let splats = null; // {places, velocities, times, first, last}: three values or one a splat

// Of the splats `start` to `end`, the indices of those that a frame shows between two planes; a counting sort by depth.
function sorted(start, end, { frame, row, near, far }) {
  const { places, velocities, times, first, last } = splats;
  const kept = new Uint32Array(end - start);
  const depths = new Float32Array(end - start);
  let alive = 0, nearest = Infinity, farthest = 0;
  for (let i = start; i < end; i++) {
    if (frame < first[i] - 0.5 || frame >= last[i] + 0.5) continue;
    const moved = frame - times[i];
    const depth = row[3]
      + row[0] * (places[3 * i] + moved * velocities[3 * i])
      + row[1] * (places[3 * i + 1] + moved * velocities[3 * i + 1])
      + row[2] * (places[3 * i + 2] + moved * velocities[3 * i + 2]);
    if (depth <= near || depth > far) continue;
    kept[alive] = i;
    depths[alive++] = depth;
    if (depth < nearest) nearest = depth;
    if (depth > farthest) farthest = depth;
  }
  // By the logarithm of the depth: near splats need the finer order.
  const scale = 65535 / Math.max(1e-6, Math.log(farthest / nearest));
  const keys = new Uint16Array(alive);
  const begins = new Uint32Array(65537);
  for (let k = 0; k < alive; k++) {
    keys[k] = 65535 - Math.min(65535, scale * Math.log(depths[k] / nearest));
    begins[keys[k] + 1]++;
  }
  for (let key = 1; key <= 65536; key++) begins[key] += begins[key - 1];
  const order = new Uint32Array(alive);
  for (let k = 0; k < alive; k++) order[begins[keys[k]]++] = kept[k];
  return order;
}

onmessage = ({ data }) => {
  if (data.splats) {
    splats = data.splats;
    return;
  }
  const { number, frame, row, experts } = data;
  const orders = experts.map(({ start, end, near, far, shown }) =>
    sorted(start, shown ? end : start, { frame, row, near, far }));
  postMessage({ number, orders }, orders.map((order) => order.buffer));
};
