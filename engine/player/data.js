// The splats of the page, as engine/export/page_data.py packs them: arrays, deflated, in base 64.

const TYPES = { f4: Float32Array, f2: Uint16Array, i2: Int16Array, u2: Uint16Array, u1: Uint8Array };

// By name, the arrays of the page. Bytes of a value lie apart in the file: first all lowest ones, then the next.
async function readArrays(table) {
  const packed = Uint8Array.from(atob(document.getElementById("splats").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const arrays = {};
  let start = 0;
  for (const { name, type, length } of table) {
    const width = Number(type[1]);
    const mixed = new Uint8Array(length * width);
    for (let part = 0; part < width; part++)
      for (let i = 0; i < length; i++) mixed[i * width + part] = bytes[start + part * length + i];
    start += length * width;
    const values = new TYPES[type](mixed.buffer);
    arrays[name] = type === "f2" ? Float32Array.from(values, fromHalf) : values;
  }
  return arrays;
}

// A number of 16 bits (IEEE 754) as one of 64.
function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
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
function harmonicTexels(count, codes, width) {
  const texels = Math.max(1, Math.ceil(width / 4));
  const out = new Uint8Array(count * texels * 4);
  for (let i = 0; i < count; i++)
    for (let k = 0; k < width; k++) out[i * texels * 4 + k] = codes[i * width + k];
  return { texels, values: out };
}
