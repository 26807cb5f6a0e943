// A worker that puts the splats of a moment in order, the farthest first.
"use strict";

let splats = null; // {places, velocities, times, first, last, experts}: one value or three a splat

// Indices of the splats that a frame shows, before a plane, by depth; a counting sort of 16 bits.
function sorted({ frame, row, near, shown }) {
  const { places, velocities, times, first, last, experts } = splats;
  const count = times.length;
  const kept = new Uint32Array(count);
  const depths = new Float32Array(count);
  let alive = 0, nearest = Infinity, farthest = 0;
  for (let i = 0; i < count; i++) {
    if (frame < first[i] - 0.5 || frame >= last[i] + 0.5 || !shown[experts[i]]) continue;
    const moved = frame - times[i];
    const depth = row[3]
      + row[0] * (places[3 * i] + moved * velocities[3 * i])
      + row[1] * (places[3 * i + 1] + moved * velocities[3 * i + 1])
      + row[2] * (places[3 * i + 2] + moved * velocities[3 * i + 2]);
    if (depth <= near) continue;
    kept[alive] = i;
    depths[alive++] = depth;
    if (depth < nearest) nearest = depth;
    if (depth > farthest) farthest = depth;
  }
  // By the logarithm of the depth: near splats need the finer order.
  const scale = 65535 / Math.max(1e-6, Math.log(farthest / nearest));
  const keys = new Uint16Array(alive);
  const starts = new Uint32Array(65537);
  for (let k = 0; k < alive; k++) {
    keys[k] = 65535 - Math.min(65535, scale * Math.log(depths[k] / nearest));
    starts[keys[k] + 1]++;
  }
  for (let key = 1; key <= 65536; key++) starts[key] += starts[key - 1];
  const order = new Uint32Array(alive);
  for (let k = 0; k < alive; k++) order[starts[keys[k]]++] = kept[k];
  return order;
}

onmessage = ({ data }) => {
  if (data.splats) {
    splats = data.splats;
    return;
  }
  const order = sorted(data);
  postMessage({ number: data.number, order }, [order.buffer]);
};
