// The drawing of splats: 3D Gaussian splatting (Kerbl et al. 2023), of Gaussians that move on lines. Every expert is
// drawn into layers of its own: its colours, and the router's weights, which are splatted like colours.

const VERTEX = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform sampler2D values;
uniform usampler2D harmonics;
uniform int harmonicTexels, degree;
uniform float frame, clip; // of the moment; of the clip
uniform mat4 view;       // camera from world; x right, y down, z forward
uniform vec3 eye;
uniform vec4 lens;       // fx, fy, cx, cy in pixels
uniform vec2 size;       // of the canvas in pixels
uniform float lowPass;   // added to the covariance on the screen, px^2
uniform bool compensate; // Ex4DGS: opacity x root of the determinants before and after that
uniform float ndcLimit;  // of centres that are drawn
layout(location = 0) in vec2 corner;
layout(location = 1) in uint splat;
out vec2 offset;         // from the centre, in standard deviations
flat out vec4 colour;
flat out vec3 weights;

vec4 value(int part) {
  int index = int(splat) * ${TEXELS} + part, width = textureSize(values, 0).x;
  return texelFetch(values, ivec2(index % width, index / width), 0);
}

float code(int k) {
  int index = int(splat) * harmonicTexels + k / 4, width = textureSize(harmonics, 0).x;
  return (float(texelFetch(harmonics, ivec2(index % width, index / width), 0)[k % 4]) - 127.5) * (8.0 / 255.0);
}

vec3 coefficient(int k) {
  int count = degree == 1 ? 3 : degree == 2 ? 8 : 15;
  return vec3(code(k), code(count + k), code(2 * count + k));
}

vec3 harmonicColour(vec3 constant, vec3 d) {
  vec3 sum = 0.28209479 * constant;
  if (degree > 0)
    sum += 0.48860251 * (-d.y * coefficient(0) + d.z * coefficient(1) - d.x * coefficient(2));
  if (degree > 1) {
    vec3 s = d * d;
    sum += 1.09254843 * (d.x * d.y * coefficient(3) - d.y * d.z * coefficient(4) - d.x * d.z * coefficient(6))
      + 0.31539157 * (2.0 * s.z - s.x - s.y) * coefficient(5) + 0.54627422 * (s.x - s.y) * coefficient(7);
    if (degree > 2)
      sum += -0.59004359 * (d.y * (3.0 * s.x - s.y) * coefficient(8) + d.x * (s.x - 3.0 * s.y) * coefficient(14))
        + 2.89061144 * d.x * d.y * d.z * coefficient(9) + 1.44530572 * d.z * (s.x - s.y) * coefficient(13)
        - 0.45704580 * (4.0 * s.z - s.x - s.y) * (d.y * coefficient(10) + d.x * coefficient(12))
        + 0.37317633 * d.z * (2.0 * s.z - 3.0 * s.x - 3.0 * s.y) * coefficient(11);
  }
  return max(sum + 0.5, 0.0);
}

mat3 axes(vec4 q, vec3 scales) {
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(
    scales.x * vec3(1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)),
    scales.y * vec3(2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)),
    scales.z * vec3(2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)));
}

void main() {
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0); // outside, unless the splat is seen
  vec4 place = value(0), motion = value(1), shape = value(3), routing = value(5);
  float time = frame - place.w;
  vec3 centre = place.xyz + time * motion.xyz;
  float opacity = shape.w * exp(-0.5 * time * time * motion.w * motion.w);
  vec3 p = (view * vec4(centre, 1.0)).xyz;
  vec2 ndc = 2.0 * (lens.xy * p.xy / p.z + lens.zw) / size - 1.0;
  if (max(abs(ndc.x), abs(ndc.y)) > ndcLimit) return;
  vec2 limits = 1.3 * 0.5 * size / lens.xy;
  vec2 slope = clamp(p.xy / p.z, -limits, limits);
  mat3 m = mat3(view) * axes(value(2), shape.xyz);
  vec3 row0 = (lens.x / p.z) * (vec3(m[0].x, m[1].x, m[2].x) - slope.x * vec3(m[0].z, m[1].z, m[2].z));
  vec3 row1 = (lens.y / p.z) * (vec3(m[0].y, m[1].y, m[2].y) - slope.y * vec3(m[0].z, m[1].z, m[2].z));
  float xx = dot(row0, row0) + lowPass, xy = dot(row0, row1), yy = dot(row1, row1) + lowPass;
  if (compensate) {
    vec3 across = cross(row0, row1);
    float before = dot(across, across), after = xx * yy - xy * xy;
    if (before <= 1e-6) return;
    opacity *= sqrt(before / after);
  }
  if (opacity < 1.0 / 255.0) return;
  float middle = 0.5 * (xx + yy), spread = length(vec2(0.5 * (xx - yy), xy));
  float longer = middle + spread, shorter = max(middle - spread, 1e-6);
  vec2 first = abs(xy) > 1e-9 ? normalize(vec2(xy, longer - xx)) : (xx >= yy ? vec2(1, 0) : vec2(0, 1));
  float reach = sqrt(2.0 * log(255.0 * opacity)); // where the opacity falls below 1/255
  offset = corner * reach;
  vec2 pixel = lens.zw + lens.xy * p.xy / p.z
    + offset.x * sqrt(longer) * first + offset.y * sqrt(shorter) * vec2(-first.y, first.x);
  gl_Position = vec4(2.0 * pixel.x / size.x - 1.0, 1.0 - 2.0 * pixel.y / size.y, 0.0, 1.0);
  colour = vec4(harmonicColour(value(4).xyz, normalize(centre - eye)), opacity);
  weights = vec3(routing.xy, routing.z * frame / clip);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec2 offset;
flat in vec4 colour;
flat in vec3 weights;
layout(location = 0) out vec4 seen;
layout(location = 1) out vec4 carried;
void main() {
  float alpha = min(0.99, colour.a * exp(-0.5 * dot(offset, offset)));
  if (alpha < 1.0 / 255.0) discard;
  seen = vec4(colour.rgb * alpha, alpha);
  carried = vec4(weights * alpha, alpha);
}`;

// The router, for every pixel: logits of weights and view ray (MoE-GS eq. 7), their softmax, the blend (eq. 8).
const BLEND_VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1), 0, 1); }`;

const BLEND_FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler2DArray;
uniform sampler2DArray layers; // of expert e: 2 e its colours, 2 e + 1 its weights
uniform int experts, shown;    // shown: a bit for each expert
uniform vec3 backgrounds[8];
uniform vec3 palette[8];
uniform float mlp1[48], mlp2[18], mlp3[3];
uniform int seenByHead;        // values that the head sees of a pixel: 2, and 6 of its ray
uniform float temperature;
uniform mat4 view;
uniform vec3 eye;
uniform vec4 lens;
uniform vec2 size;
uniform bool gates;            // show who is believed where, in the experts' colours
uniform bool guard, behindHoles; // rules at cameras that nobody trained on: router/novel_views.py
uniform vec3 holeColour;
uniform float usualCoverage, towardsMean;
out vec4 result;

float logit(vec3 weights, vec3 ray) {
  float seen[8] = float[8](weights.y, weights.z, eye.x, eye.y, eye.z, ray.x, ray.y, ray.z);
  float first[6];
  for (int i = 0; i < 6; i++) {
    first[i] = 0.0;
    for (int k = 0; k < seenByHead; k++) first[i] += mlp1[i * seenByHead + k] * seen[k];
  }
  float sum = weights.x;
  for (int i = 0; i < 3; i++) {
    float second = 0.0;
    for (int k = 0; k < 6; k++) second += mlp2[i * 6 + k] * max(first[k], 0.0);
    sum += mlp3[i] * max(second, 0.0);
  }
  return sum;
}

void main() {
  vec2 pixel = vec2(gl_FragCoord.x, size.y - gl_FragCoord.y);
  vec3 ray = normalize(transpose(mat3(view)) * vec3((pixel - lens.zw) / lens.xy, 1.0));
  float logits[8], highest = -1e30, covered = 0.0, number = 0.0, total = 0.0;
  for (int e = 0; e < experts; e++) {
    vec4 carried = texelFetch(layers, ivec3(gl_FragCoord.xy, 2 * e + 1), 0);
    covered += carried.a;
    if ((shown >> e & 1) == 0) continue;
    logits[e] = logit(carried.rgb + (1.0 - carried.a), ray) / temperature;
    if (guard) logits[e] += log(max(carried.a, 0.01));
    highest = max(highest, logits[e]);
    number++;
  }
  for (int e = 0; e < experts; e++)
    if ((shown >> e & 1) == 1) total += exp(logits[e] - highest);
  float hole = guard ? 2.0 - 2.0 * clamp(covered / (float(experts) * max(usualCoverage, 0.001)), 0.5, 1.0) : 0.0;
  float share = towardsMean + (1.0 - towardsMean) * hole; // of equal gates
  vec3 sum = vec3(0.0);
  for (int e = 0; e < experts; e++) {
    if ((shown >> e & 1) == 0) continue;
    vec4 seen = texelFetch(layers, ivec3(gl_FragCoord.xy, 2 * e), 0);
    float gate = (1.0 - share) * exp(logits[e] - highest) / total + share / number;
    vec3 behind = behindHoles ? mix(backgrounds[e], holeColour, hole) : backgrounds[e];
    sum += gate * (gates ? palette[e] : seen.rgb + (1.0 - seen.a) * behind);
  }
  result = vec4(sum, 1.0);
}`;
