// WebGL2: textures of the splats, and a picture of those that the sorter has put in order.

class Renderer {
  constructor(canvas, facts, arrays) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("this browser has no WebGL2");
    Object.assign(this, { gl, canvas, facts, count: 0 });
    this.exact = gl.getExtension("EXT_color_buffer_half_float") || gl.getExtension("EXT_color_buffer_float");
    this.splats = program(gl, VERTEX, FRAGMENT);
    this.copy = program(gl, COPY_VERTEX, COPY_FRAGMENT);
    const values = texelsOf(facts.count, arrays, facts.ranges);
    const codes = harmonicTexels(facts.count, arrays.harmonics, facts.harmonics);
    this.harmonicTexels = codes.texels;
    this.width = Math.min(4096, gl.getParameter(gl.MAX_TEXTURE_SIZE));
    this.values = this.texture(values.values, gl.RGBA32F, gl.RGBA, gl.FLOAT);
    this.harmonics = this.texture(codes.values, gl.RGBA8UI, gl.RGBA_INTEGER, gl.UNSIGNED_BYTE);
    this.order = gl.createBuffer();
    this.geometry();
    this.sum = gl.createTexture();
    this.target = gl.createFramebuffer();
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
    nearest(gl);
    return texture;
  }

  geometry() {
    const { gl } = this;
    this.shape = gl.createVertexArray();
    gl.bindVertexArray(this.shape);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.order);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribIPointer(1, 1, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(1, 1);
    gl.bindVertexArray(null);
  }

  setOrder(order) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.order);
    gl.bufferData(gl.ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
    this.count = order.length;
  }

  // Sums have 16 bits a channel where the device can: with 8, hundreds of faint splats would add up their roundings.
  resize() {
    const { gl, canvas } = this;
    const width = Math.round(canvas.clientWidth * devicePixelRatio);
    const height = Math.round(canvas.clientHeight * devicePixelRatio);
    if (canvas.width === width && canvas.height === height && this.sized) return;
    Object.assign(canvas, { width, height });
    gl.bindTexture(gl.TEXTURE_2D, this.sum);
    if (this.exact) gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA16F, width, height, 0, gl.RGBA, gl.HALF_FLOAT, null);
    else gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    nearest(gl);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.sum, 0);
    this.sized = true;
  }

  draw(frame, camera, shares) {
    const { gl, canvas, splats, copy } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.useProgram(splats.program);
    bind(gl, 0, this.values, splats.at("values"));
    bind(gl, 1, this.harmonics, splats.at("harmonics"));
    gl.uniform1i(splats.at("harmonicTexels"), this.harmonicTexels);
    gl.uniform1i(splats.at("degree"), this.facts.degree);
    gl.uniform1f(splats.at("frame"), frame);
    gl.uniformMatrix4fv(splats.at("view"), true, camera.view);
    gl.uniform3fv(splats.at("eye"), camera.eye);
    gl.uniform4fv(splats.at("lens"), camera.lens);
    gl.uniform2f(splats.at("size"), canvas.width, canvas.height);
    gl.uniform1fv(splats.at("shares"), shares);
    gl.bindVertexArray(this.shape);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.count);
    gl.disable(gl.BLEND);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.useProgram(copy.program);
    bind(gl, 0, this.sum, copy.at("sum"));
    gl.uniform3fv(copy.at("background"), this.facts.background);
    gl.bindVertexArray(null);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

function nearest(gl) {
  for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
}

function bind(gl, unit, texture, uniform) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
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
