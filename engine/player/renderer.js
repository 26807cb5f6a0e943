// WebGL2: textures of the splats, layers of the experts' images, and their blend.

// Colours of the experts where gates are shown (Okabe and Ito 2008).
const PALETTE = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999"];

class Renderer {
  constructor(canvas, facts, arrays) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("this browser has no WebGL2");
    Object.assign(this, { gl, canvas, facts, orders: [] });
    this.format = this.layerFormat();
    this.splats = program(gl, VERTEX, FRAGMENT);
    this.blend = program(gl, BLEND_VERTEX, BLEND_FRAGMENT);
    const codes = harmonicTexels(facts.count, arrays, facts.harmonics);
    this.harmonicTexels = codes.texels;
    this.width = Math.min(4096, gl.getParameter(gl.MAX_TEXTURE_SIZE));
    this.values = this.texture(texelsOf(facts.count, arrays, facts.ranges), gl.RGBA32F, gl.RGBA, gl.FLOAT);
    this.harmonics = this.texture(codes.values, gl.RGBA8UI, gl.RGBA_INTEGER, gl.UNSIGNED_BYTE);
    this.geometry();
    this.target = gl.createFramebuffer();
    this.router = routerUniforms(facts);
  }

  // Sums of splats have 32 bits a channel where the device can, else 16: with 8, roundings of hundreds would add up.
  layerFormat() {
    const { gl } = this;
    if (gl.getExtension("EXT_color_buffer_float") && gl.getExtension("EXT_float_blend")) return gl.RGBA32F;
    if (gl.getExtension("EXT_color_buffer_float") || gl.getExtension("EXT_color_buffer_half_float")) return gl.RGBA16F;
    throw new Error("this device cannot draw into textures of floats");
  }

  texture(values, kind, format, type) {
    const { gl, width } = this;
    const height = Math.ceil(values.length / 4 / width);
    if (height > gl.getParameter(gl.MAX_TEXTURE_SIZE)) throw new Error("this device cannot hold so many splats");
    const padded = new values.constructor(4 * width * height);
    padded.set(values);
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, kind, width, height, 0, format, type, padded);
    nearest(gl, gl.TEXTURE_2D);
    return texture;
  }

  // A square for each splat, and for each expert a buffer with the order of its splats.
  geometry() {
    const { gl } = this;
    const square = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, square);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
    this.shapes = this.facts.experts.map(() => {
      const shape = { array: gl.createVertexArray(), order: gl.createBuffer(), count: 0 };
      gl.bindVertexArray(shape.array);
      gl.bindBuffer(gl.ARRAY_BUFFER, square);
      gl.enableVertexAttribArray(0);
      gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
      gl.bindBuffer(gl.ARRAY_BUFFER, shape.order);
      gl.enableVertexAttribArray(1);
      gl.vertexAttribIPointer(1, 1, gl.UNSIGNED_INT, 0, 0);
      gl.vertexAttribDivisor(1, 1);
      return shape;
    });
    gl.bindVertexArray(null);
  }

  setOrders(orders) {
    const { gl } = this;
    for (const [index, order] of orders.entries()) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.shapes[index].order);
      gl.bufferData(gl.ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
      this.shapes[index].count = order.length;
    }
  }

  // Fits the canvas to the window, with two layers for each expert.
  resize() {
    const { gl, canvas } = this;
    const width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
    const height = Math.max(1, Math.round(canvas.clientHeight * devicePixelRatio));
    if (this.layers && canvas.width === width && canvas.height === height) return;
    Object.assign(canvas, { width, height });
    if (this.layers) gl.deleteTexture(this.layers);
    this.layers = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, this.layers);
    gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, this.format, width, height, 2 * this.facts.experts.length);
    nearest(gl, gl.TEXTURE_2D_ARRAY);
  }

  draw(state) {
    const { gl, canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.clearColor(0, 0, 0, 0);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.useProgram(this.splats.program);
    bind(gl, 0, gl.TEXTURE_2D, this.values, this.splats.at("values"));
    bind(gl, 1, gl.TEXTURE_2D, this.harmonics, this.splats.at("harmonics"));
    this.setCamera(this.splats, state);
    gl.uniform1i(this.splats.at("harmonicTexels"), this.harmonicTexels);
    gl.uniform1i(this.splats.at("degree"), this.facts.degree);
    gl.uniform1f(this.splats.at("frame"), state.frame);
    gl.uniform1f(this.splats.at("clip"), this.facts.frames);
    for (const index of this.facts.experts.keys()) this.drawExpert(index);
    gl.disable(gl.BLEND);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    this.drawBlend(state);
  }

  drawExpert(index) {
    const { gl, splats } = this;
    const { raster } = this.facts.experts[index];
    for (const part of [0, 1])
      gl.framebufferTextureLayer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0 + part, this.layers, 0, 2 * index + part);
    gl.drawBuffers([gl.COLOR_ATTACHMENT0, gl.COLOR_ATTACHMENT1]);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform1f(splats.at("lowPass"), raster.low_pass);
    gl.uniform1i(splats.at("compensate"), raster.compensate);
    gl.uniform1f(splats.at("ndcLimit"), raster.ndc_limit ?? 1e9);
    gl.bindVertexArray(this.shapes[index].array);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.shapes[index].count);
  }

  drawBlend(state) {
    const { gl, blend, facts } = this;
    gl.useProgram(blend.program);
    bind(gl, 0, gl.TEXTURE_2D_ARRAY, this.layers, blend.at("layers"));
    this.setCamera(blend, state);
    gl.uniform1i(blend.at("experts"), facts.experts.length);
    gl.uniform1i(blend.at("shown"), state.shown.reduce((bits, on, index) => bits | (on << index), 0));
    gl.uniform1i(blend.at("gates"), state.gates);
    gl.uniform1i(blend.at("seenByHead"), this.router.seen);
    gl.uniform1f(blend.at("temperature"), facts.router.temperature);
    this.setRules(state);
    for (const [name, values] of Object.entries(this.router.layers)) gl.uniform1fv(blend.at(name), values);
    for (const [name, values] of Object.entries(this.router.colours)) gl.uniform3fv(blend.at(name), values);
    gl.bindVertexArray(null);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  setRules({ rules }) {
    const { gl, blend, facts } = this;
    const guard = rules ? facts.rules.guard : null;
    gl.uniform1i(blend.at("guard"), guard !== null);
    gl.uniform1i(blend.at("behindHoles"), Boolean(guard?.hole_colour));
    gl.uniform3fv(blend.at("holeColour"), guard?.hole_colour ?? [0, 0, 0]);
    gl.uniform1f(blend.at("usualCoverage"), guard?.usual_coverage ?? 1);
    gl.uniform1f(blend.at("towardsMean"), rules ? facts.rules.towards_mean : 0);
  }

  setCamera(program, { camera }) {
    const { gl, canvas } = this;
    gl.uniformMatrix4fv(program.at("view"), true, camera.view);
    gl.uniform3fv(program.at("eye"), camera.eye);
    gl.uniform4fv(program.at("lens"), camera.lens);
    gl.uniform2f(program.at("size"), canvas.width, canvas.height);
  }
}

// The router's layers as the shader takes them, and the colours of the experts.
function routerUniforms({ router, experts }) {
  const layers = {}, sizes = { mlp1: 48, mlp2: 18, mlp3: 3 };
  for (const [name, size] of Object.entries(sizes)) {
    layers[name] = new Float32Array(size);
    layers[name].set(router.head[`${name}.weight`].values);
  }
  const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
  const colours = { backgrounds: new Float32Array(24), palette: new Float32Array(PALETTE.flatMap(channels)) };
  colours.backgrounds.set(experts.flatMap(({ background }) => background));
  return { layers, colours, seen: router.head["mlp1.weight"].shape[1] };
}

function nearest(gl, kind) {
  for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(kind, name, gl.NEAREST);
}

function bind(gl, unit, kind, texture, uniform) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(kind, texture);
  gl.uniform1i(uniform, unit);
}

function program(gl, vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  const places = {};
  return { program: made, at: (name) => (places[name] ??= gl.getUniformLocation(made, name)) };
}
