// The splats of the page, as engine/export/pages/data.py and arrays.py pack them: columns of integers, deflated, in base 64.

// Values of a row that are told together; all other columns have one.
const WIDE = { cells: 3, begins: 3, hops: 3, bends: 3, quats: 4, scales: 3, colours: 3, routing: 3 };
// Values of a piece, with the bits of `fresh` that are set where they are not those of the piece before.
const SHARED = ["quats", "scales", "opacities", "colours", "harmonics"];

const NO_UNPACKING =
  "this browser has no DecompressionStream, which unpacks the splats. " +
  "Take Chrome or Edge from version 80 on, Firefox from 113 on, or Safari from 16.4 on.";

// By name, the columns of the page. Bytes of a value lie apart in the file: first all lowest ones, then the next.
async function readColumns(table) {
  if (!("DecompressionStream" in globalThis)) throw new Error(NO_UNPACKING);
  const packed = Uint8Array.from(atob(document.getElementById("splats").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const columns = {};
  let start = 0;
  for (const { name, type, length } of table) {
    const width = Number(type[1]);
    const values = type === "f2" ? new Float32Array(length) : new Int32Array(length);
    for (let i = 0; i < length; i++) {
      let value = 0;
      for (let part = 0; part < width; part++) value |= bytes[start + part * length + i] << (8 * part);
      if (type[0] === "z") value = (value >>> 1) ^ -(value & 1); // 0, -1, 1, -2, 2 …
      values[i] = type === "f2" ? fromHalf(value) : value;
    }
    start += length * width;
    columns[name] = values;
  }
  return columns;
}

// A number of 16 bits (IEEE 754) as one of 64.
function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// The arrays of all pieces: engine/export/pages/chains.py tells what the columns are.
async function readArrays(facts) {
  const columns = await readColumns(facts.arrays), { count } = facts;
  const wide = (name) => WIDE[name] ?? 1;
  const arrays = { entries: columns.entries, harmonics: new Int32Array(count), first: new Int32Array(count), last: new Int32Array(count) };
  for (const name of ["places", "velocities", "routing", "scales", "colours"]) arrays[name] = new Float32Array(3 * count);
  for (const name of ["times", "widths", "opacities"]) arrays[name] = new Float32Array(count);
  arrays.quats = new Float32Array(4 * count);
  const changes = SHARED.map(() => -1);
  let piece = 0, chain = 0, hop = 0;
  for (const expert of facts.experts) {
    const corner = [0, 0, 0];
    for (const end = chain + expert.chains; chain < end; chain++) {
      for (let k = 0; k < 3; k++) corner[k] += columns.cells[3 * chain + k];
      const stop = piece + columns.pieces[chain], place = [...columns.begins.subarray(3 * chain, 3 * chain + 3)];
      let first = 0, step = 0;
      for (; piece < stop; piece++) {
        const head = step === 0, length = columns.lengths[piece], fresh = columns.fresh[piece];
        first += columns.gaps[piece];
        for (const [bit, name] of SHARED.entries()) {
          if ((fresh >> bit) & 1) changes[bit]++;
          const width = wide(name), from = changes[bit] * width;
          if (name === "harmonics") arrays.harmonics[piece] = columns.harmonics ? columns.harmonics[from] : from;
          else for (let k = 0; k < width; k++) arrays[name][width * piece + k] = columns[name][from + k];
        }
        if (head) step = stepOf(arrays.scales.subarray(3 * piece, 3 * piece + 3), expert.cells.size, facts.ranges);
        const endless = columns.widths[chain] === 0;
        const time = endless ? first : columns.times[chain] / facts.ranges.time;
        const share = piece + 1 < stop ? length / (length + 1 + columns.gaps[piece + 1]) : 0; // of the way to the next
        for (let k = 0; k < 3; k++) {
          const ahead = piece + 1 < stop ? columns.hops[3 * hop + k] : 0;
          const move = columns.bends[3 * piece + k] + Math.floor(ahead * share + 0.5);
          const velocity = (move * step) / Math.max(1, length);
          const begin = expert.cells.corner[k] + corner[k] * expert.cells.size + place[k] * step;
          arrays.velocities[3 * piece + k] = velocity;
          arrays.places[3 * piece + k] = begin + (time - first) * velocity;
          arrays.routing[3 * piece + k] = columns.routing[3 * chain + k] / facts.ranges.routing;
          place[k] += ahead;
        }
        arrays.times[piece] = time;
        arrays.widths[piece] = endless ? Infinity : columns.widths[chain];
        arrays.first[piece] = first;
        arrays.last[piece] = first + length;
        first += length + 1;
        if (piece + 1 < stop) hop++;
      }
    }
  }
  return arrays;
}

// The step of the grid of a chain: a share of its size, but not too small for the cells.
function stepOf(codes, cell, { place, scales: [low, high] }) {
  const logs = (low + (high - low) * codes[0] / 255) + (low + (high - low) * codes[1] / 255) + (low + (high - low) * codes[2] / 255);
  return Math.max(place * Math.exp(logs / 3), cell / 60000);
}

// The rows of a texture: four values a texel, TEXELS texels a splat, which shaders.js reads.
const TEXELS = 6;

function texelsOf(count, a, ranges) {
  const out = new Float32Array(count * TEXELS * 4);
  const [low, high] = ranges.scales;
  const three = (name, texel, change) => {
    const values = a[name];
    for (let i = 0; i < count; i++)
      for (let k = 0; k < 3; k++) out[(i * TEXELS + texel) * 4 + k] = change(values[3 * i + k]);
  };
  const same = (value) => value;
  three("places", 0, same);
  three("velocities", 1, same);
  three("scales", 3, (value) => Math.exp(low + (high - low) * value / 255));
  three("colours", 4, (value) => value / ranges.colour);
  three("routing", 5, same);
  for (let i = 0; i < count; i++) {
    const at = i * TEXELS * 4;
    out[at + 3] = a.times[i];
    out[at + 7] = 1 / a.widths[i];
    out[at + 15] = a.opacities[i] / 255;
    const quat = a.quats.subarray(4 * i, 4 * i + 4);
    const length = Math.hypot(quat[0], quat[1], quat[2], quat[3]) || 1;
    for (let k = 0; k < 4; k++) out[at + 8 + k] = quat[k] / length;
  }
  return out;
}

// Bytes of the spherical harmonics, padded to whole texels of four.
function harmonicTexels(count, { harmonics, entries }, width) {
  const texels = Math.max(1, Math.ceil(width / 4));
  const out = new Uint8Array(count * texels * 4);
  for (let i = 0; i < count; i++)
    for (let k = 0; k < width; k++) out[i * texels * 4 + k] = entries[harmonics[i] * width + k];
  return { texels, values: out };
}
