// A worker that puts the splats of a moment in order, the farthest first, each expert's apart.
"use strict";

let splats = null; // {places, velocities, times, first, last}: three values or one a splat
let training = [];  // cameras of the training, as the page's facts have them

// True where a training camera has a place in its image, not farther than `limit`: experts/novel_views.py.
function spokenFor(x, y, z, limit) {
  return training.some(({ world_to_camera: m, fx, fy, cx, cy, width, height }) => {
    const depth = m[8] * x + m[9] * y + m[10] * z + m[11];
    if (!(depth > 0 && depth <= limit)) return false;
    const column = cx + fx * (m[0] * x + m[1] * y + m[2] * z + m[3]) / depth;
    const row = cy + fy * (m[4] * x + m[5] * y + m[6] * z + m[7]) / depth;
    return column >= 0 && column <= width && row >= 0 && row <= height;
  });
}

// Of the splats `start` to `end`, the indices of those that a frame shows between two planes; a counting sort by depth.
// novelNear: before it only splats are shown that a training camera saw from at most twice as far; 0: at its own place.
function sorted(start, end, { frame, row, near, far, novelNear }) {
  const { places, velocities, times, first, last } = splats;
  const kept = new Uint32Array(end - start);
  const depths = new Float32Array(end - start);
  let alive = 0, nearest = Infinity, farthest = 0;
  for (let i = start; i < end; i++) {
    if (frame < first[i] - 0.5 || frame >= last[i] + 0.5) continue;
    const moved = frame - times[i];
    const x = places[3 * i] + moved * velocities[3 * i];
    const y = places[3 * i + 1] + moved * velocities[3 * i + 1];
    const z = places[3 * i + 2] + moved * velocities[3 * i + 2];
    const depth = row[0] * x + row[1] * y + row[2] * z + row[3];
    if (depth <= near || depth > far) continue;
    if (depth > 0 && depth < novelNear && !spokenFor(x, y, z, 2 * depth)) continue;
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
    ({ splats, training } = data);
    return;
  }
  const { number, frame, row, novelNear, experts } = data;
  const orders = experts.map(({ start, end, near, far, drawn }) =>
    sorted(start, drawn ? end : start, { frame, row, near, far, novelNear }));
  postMessage({ number, orders }, orders.map((order) => order.buffer));
};
