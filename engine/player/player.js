// The page: controls, time, and pictures whenever something changes.

class Player {
  constructor(facts, arrays) {
    const canvas = document.getElementById("canvas");
    Object.assign(this, { facts, canvas, frame: 0, playing: false, speed: 1, asked: 0, sorting: false, waiting: [], gates: false, rules: true });
    this.shown = facts.experts.map(() => true);
    this.view = new View(facts);
    this.renderer = new Renderer(canvas, facts, arrays);
    this.startSorter(arrays);
    this.controls();
    listen(canvas, this.view, () => {
      this.setControls();
      this.change();
    });
    addEventListener("resize", () => this.change());
    this.comeBack();
    this.change();
  }

  // Browsers take WebGL away, as a phone does from a page in the background. When it is back, all is uploaded again.
  comeBack() {
    const { canvas, facts } = this;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", async () => {
      this.renderer = new Renderer(canvas, facts, await readArrays(facts));
      this.change();
    });
  }

  startSorter(arrays) {
    const source = document.getElementById("sorter").textContent;
    this.sorter = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    const { places, velocities, times, first, last } = arrays;
    const training = this.facts.cameras.filter((camera) => camera.training);
    this.sorter.postMessage({ splats: { places, velocities, times, first, last }, training });
    this.sorter.onmessage = ({ data }) => {
      this.sorting = false;
      this.renderer.setOrders(data.orders);
      this.renderer.draw(this.moment);
      if (data.number < this.asked) this.sort();
      else for (const done of this.waiting.splice(0)) done();
    };
  }

  // Asks for a picture of the present state. While the sorter is busy, the newest state waits for it.
  change() {
    this.asked++;
    this.renderer.resize();
    if (!this.sorting) this.sort();
  }

  sort() {
    this.sorting = true;
    const { frame, gates } = this, rules = this.rules && !this.view.trained; // where it trained, no rule holds
    this.moment = { frame, camera: this.view.on(this.canvas), shown: [...this.shown], gates, rules };
    const { camera, shown } = this.moment;
    const novelNear = (rules && this.facts.rules.near) || 0;
    const all = rules && this.facts.rules.guard; // what most experts have nothing of is a hole: those that are off count
    let end = 0;
    const experts = this.facts.experts.map(({ count, raster }, index) => {
      const start = end;
      end += count;
      return { start, end, near: raster.near, far: raster.far ?? Infinity, drawn: all || shown[index] };
    });
    this.sorter.postMessage({ number: this.asked, frame, row: camera.forward, novelNear, experts });
  }

  // The state of the page from outside, and a promise of its picture: for tests, and for pages around this one.
  show({ frame = this.frame, camera, experts, gates = this.gates, rules = this.rules }) {
    Object.assign(this, { gates, rules });
    if (camera !== undefined) this.view.choose(this.facts.cameras.findIndex(({ name }) => name === camera));
    if (experts) this.setShown(this.facts.experts.map(({ name }) => experts.includes(name)));
    this.setControls();
    this.setFrame(frame);
    return new Promise((done) => this.waiting.push(done));
  }

  // Which experts are on. There is no mixture of none: then all are.
  setShown(shown) {
    this.shown = shown.some(Boolean) ? shown : shown.map(() => true);
  }

  setFrame(frame) {
    this.frame = frame;
    document.getElementById("frame").value = frame;
    document.getElementById("number").textContent = `${Math.round(frame)} / ${this.facts.frames - 1}`;
    this.change();
  }

  // The controls say what is shown, whoever asked for it.
  setControls() {
    for (const name of ["gates", "rules"]) document.getElementById(name).checked = this[name];
    document.getElementById("camera").value = this.view.index;
    for (const [index, box] of document.querySelectorAll("#experts input").entries()) box.checked = this.shown[index];
  }

  controls() {
    const slider = document.getElementById("frame");
    slider.max = this.facts.frames - 1;
    for (const name of ["play", "frame", "number", "speed"]) document.getElementById(name).hidden = this.facts.frames === 1;
    slider.addEventListener("input", () => this.setFrame(Number(slider.value)));
    document.getElementById("play").addEventListener("click", () => this.play(!this.playing));
    document.getElementById("speed").addEventListener("change", ({ target }) => (this.speed = Number(target.value)));
    const cameras = document.getElementById("camera");
    cameras.add(Object.assign(new Option("free", FREE), { hidden: true, disabled: true })); // cannot be chosen
    for (const [index, { name }] of this.facts.cameras.entries()) cameras.add(new Option(name, index));
    cameras.addEventListener("change", () => {
      this.view.choose(Number(cameras.value));
      this.change();
    });
    if (this.facts.experts.length > 1) this.expertBoxes();
    else document.getElementById("mixture").hidden = true;
    const { near, guard, towards_mean } = this.facts.rules;
    document.getElementById("rules").parentElement.hidden = !(near || guard || towards_mean);
    for (const name of ["gates", "rules"])
      document.getElementById(name).addEventListener("change", ({ target }) => {
        this[name] = target.checked;
        this.change();
      });
    addEventListener("keydown", (event) => this.press(event));
    this.setControls();
    this.setFrame(0);
  }

  // Space plays, but where it presses a button or a box; h hides the controls.
  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && this.facts.frames > 1 && [document.body, document.getElementById("frame")].includes(event.target))
      this.play(!this.playing);
    if (event.key === "h") document.getElementById("controls").toggleAttribute("hidden");
  }

  expertBoxes() {
    for (const [index, { name }] of this.facts.experts.entries()) {
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
      box.addEventListener("change", () => {
        this.setShown(this.shown.map((on, each) => (each === index ? box.checked : on)));
        this.setControls();
        this.change();
      });
      const mark = Object.assign(document.createElement("span"), { className: "mark" });
      mark.style.background = PALETTE[index];
      label.append(box, mark, name);
      document.getElementById("experts").append(label);
    }
  }

  play(playing) {
    this.playing = playing;
    document.getElementById("play").textContent = playing ? "stop" : "play";
    let before = null;
    const step = (now) => {
      if (!this.playing) return;
      const passed = before === null ? 0 : (now - before) / 1000;
      before = now;
      this.setFrame((this.frame + passed * this.speed * this.facts.fps) % (this.facts.frames - 1));
      requestAnimationFrame(step);
    };
    if (playing) requestAnimationFrame(step);
  }
}

// The state that the address asks for, as #frame=12&camera=cam00&experts=STG,Ex4DGS&gates=on&controls=off
// What the page does not have is not asked for: frames beyond the clip are its ends, unknown names are left out.
function fromAddress(address, facts) {
  const asked = new URLSearchParams(address.hash.slice(1));
  document.getElementById("controls").hidden = asked.get("controls") === "off";
  const known = (names, wanted) => wanted.filter((each) => names.some(({ name }) => name === each));
  const experts = known(facts.experts, asked.get("experts")?.split(",") ?? []);
  return {
    frame: Math.min(Math.max(Number(asked.get("frame")) || 0, 0), facts.frames - 1),
    camera: known(facts.cameras, [asked.get("camera")])[0],
    experts,
    gates: asked.get("gates") === "on",
    rules: asked.get("rules") !== "off",
  };
}

async function start() {
  const message = document.getElementById("message");
  try {
    const facts = JSON.parse(document.getElementById("facts").textContent);
    window.player = new Player(facts, await readArrays(facts));
    await window.player.show(fromAddress(location, facts));
    message.remove();
    addEventListener("hashchange", () => window.player.show(fromAddress(location, facts)));
  } catch (error) {
    message.textContent = `This page cannot be shown: ${error.message}`;
    throw error;
  }
}

start();
