// The camera: one of the rig's, or turned, moved and brought nearer by mouse, touch and keys.

const FREE = -1; // the index of a camera that is none of the rig's

class View {
  constructor(facts) {
    this.cameras = facts.cameras;
    this.target = facts.target;
    this.choose(0);
    Object.assign(this, { nearest: this.distance() / 100, farthest: this.distance() * 100 });
  }

  choose(index) {
    const { world_to_camera: m, fx, fy, cx, cy, width, height } = this.cameras[index];
    this.rotation = [0, 1, 2].map((row) => m.slice(4 * row, 4 * row + 3)); // rows: right, down, forward
    const moved = [m[3], m[7], m[11]];
    this.eye = [0, 1, 2].map((k) => -(this.rotation[0][k] * moved[0] + this.rotation[1][k] * moved[1] + this.rotation[2][k] * moved[2]));
    const trained = this.cameras[index].training; // until it moves
    Object.assign(this, { fx, fy, cx, cy, width, height, index, trained });
  }

  // It is none of the recorded cameras from now on.
  leave() {
    Object.assign(this, { index: FREE, trained: false });
  }

  // The camera for a canvas: the whole picture of the recorded camera is in it, as large as it fits.
  on(canvas) {
    const scale = Math.min(canvas.width / this.width, canvas.height / this.height);
    const left = (canvas.width - scale * this.width) / 2, top = (canvas.height - scale * this.height) / 2;
    const lens = [scale * this.fx, scale * this.fy, scale * this.cx + left, scale * this.cy + top];
    const rows = this.rotation.map((row) => [...row, -dot(row, this.eye)]);
    return { view: new Float32Array([...rows.flat(), 0, 0, 0, 1]), eye: this.eye, lens, forward: rows[2] };
  }

  distance() {
    return Math.max(1e-3, Math.hypot(...this.target.map((value, k) => value - this.eye[k])));
  }

  // Turns around the target, by angles about the camera's down and right axes.
  turn(across, along) {
    this.leave();
    for (const [axis, angle] of [[this.rotation[1], -across], [this.rotation[0], along]]) {
      const away = this.eye.map((value, k) => value - this.target[k]);
      const about = [...axis];
      this.eye = turned(away, about, angle).map((value, k) => value + this.target[k]);
      this.rotation = this.rotation.map((row) => turned(row, about, angle));
    }
  }

  // Moves sideways, by shares of the distance to the target.
  move(right, down) {
    this.leave();
    const far = this.distance();
    const step = [0, 1, 2].map((k) => far * (right * this.rotation[0][k] + down * this.rotation[1][k]));
    this.eye = this.eye.map((value, k) => value + step[k]);
    this.target = this.target.map((value, k) => value + step[k]);
  }

  // Goes nearer to the target (factor below 1) or away from it, within limits: it can always come back.
  approach(factor) {
    this.leave();
    const far = this.distance(), wanted = Math.min(Math.max(factor * far, far < this.nearest ? far : this.nearest), this.farthest);
    this.eye = this.eye.map((value, k) => this.target[k] + (wanted / far) * (value - this.target[k]));
  }
}

function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

// A vector turned about a unit axis (Rodrigues).
function turned(v, n, angle) {
  const c = Math.cos(angle), s = Math.sin(angle), along = dot(n, v) * (1 - c);
  const cross = [n[1] * v[2] - n[2] * v[1], n[2] * v[0] - n[0] * v[2], n[0] * v[1] - n[1] * v[0]];
  return v.map((value, k) => c * value + s * cross[k] + along * n[k]);
}

// Mouse, touch and wheel: one pointer turns; the right button, or two pointers, move; wheel and pinch approach.
function listen(canvas, view, changed) {
  const held = new Map();
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, event);
  });
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, (event) => held.delete(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const across = (event.clientX - before.clientX) / canvas.clientHeight;
    const along = (event.clientY - before.clientY) / canvas.clientHeight;
    if (held.size === 2) {
      const other = [...held.values()].find((each) => each.pointerId !== event.pointerId);
      const gap = (each) => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY);
      view.approach(gap(before) / Math.max(1, gap(event)));
      view.move(-across / 2, -along / 2);
    } else if (event.buttons & 2) view.move(-across, -along);
    else view.turn(-3 * across, -3 * along);
    held.set(event.pointerId, event);
    changed();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.approach(Math.exp(event.deltaY / 800));
    changed();
  }, { passive: false });
}
