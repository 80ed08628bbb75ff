// The large picture with its mask: brush, eraser and box. A mask is handed over after each stroke.

import { element } from "/page/ask.js";
import { Zoom } from "/page/zoom.js";

const COLOUR = "rgb(255, 64, 64)";

export class Picture {
  // drawn: called with a PNG after each stroke; clicked: with a place, as shares of width and height.
  constructor(drawn, clicked) {
    this.drawn = drawn;
    this.image = element("picture");
    this.canvas = element("mask");
    this.frame = this.image.closest(".frame");
    this.fit = this.image.parentElement;
    this.box = element("box");
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    this.tool = "";
    this.rectangle = null; // x, y, width, height in pixels of the picture
    this.size = [1, 1];
    this.own = [1, 1];
    const overlay = element("overlay");
    const frames = [this.frame, overlay.closest(".frame")];
    this.zoom = new Zoom(frames, () => this.layout(), clicked, (frame) => frame === this.frame && this.tool !== "");
    for (const frame of frames) new ResizeObserver(() => this.layout()).observe(frame);
    overlay.addEventListener("load", () => this.layout());
    this.fit.addEventListener("pointerdown", (event) => this.begin(event));
    this.fit.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) this.fit.addEventListener(name, () => this.end());
  }

  show(details, source, maskSource) {
    this.size = [details.view[1], details.view[0]];
    this.own = [details.size[1], details.size[0]];
    this.id = details.id;
    this.zoom.reset();
    this.zoom.most = (64 * this.own[0]) / this.size[0];
    element("detail").hidden = true;
    this.canvas.width = this.size[0];
    this.canvas.height = this.size[1];
    this.rectangle = null;
    this.from = null;
    this.image.src = source;
    this.image.alt = details.path;
    this.layout();
    return this.load(maskSource);
  }

  async load(source) {
    const serial = (this.serial = (this.serial ?? 0) + 1);
    this.pen.clearRect(0, 0, ...this.size);
    if (!source) return;
    const mask = new Image();
    mask.src = source;
    try {
      await mask.decode();
    } catch {
      return;
    }
    if (serial !== this.serial) return;
    this.pen.drawImage(mask, 0, 0);
    this.pen.globalCompositeOperation = "source-in";
    this.pen.fillStyle = COLOUR;
    this.pen.fillRect(0, 0, ...this.size);
    this.pen.globalCompositeOperation = "source-over";
  }

  // As large as the frame allows.
  layout() {
    this.scale = this.zoom.place(this.fit, this.frame, this.size, true);
    const overlay = element("overlay");
    if (overlay.naturalWidth) this.zoom.place(overlay.parentElement, overlay.closest(".frame"), [overlay.naturalWidth, overlay.naturalHeight]);
    const of = (this.scale * this.size[0]) / this.own[0];
    element("zoom-told").textContent = `${of < 1 ? Math.round(100 * of) : Math.round(10 * of) * 10} % of its pixels`;
    this.drawBox();
    clearTimeout(this.detailing);
    this.detailing = setTimeout(() => this.detail(), 150);
  }

  // Of a picture that is shown reduced: what is seen of it, in its own pixels, once it is enlarged so far.
  async detail() {
    const detail = element("detail");
    const reduced = this.own[0] / this.size[0];
    if (reduced === 1 || this.scale <= 1) {
      detail.hidden = true;
      return;
    }
    const seen = [0, 1].map((i) => {
      const begin = -[this.fit.offsetLeft, this.fit.offsetTop][i] / this.scale;
      const end = begin + [this.frame.clientWidth, this.frame.clientHeight][i] / this.scale;
      const share = this.own[i] / this.size[i];
      return [clamp(Math.floor(begin * share), 0, this.own[i] - 1), clamp(Math.ceil(end * share), 1, this.own[i])];
    });
    const [[left, right], [top, bottom]] = seen;
    if (right - left > 2048 || bottom - top > 2048) {
      detail.hidden = true;
      return;
    }
    const source = `/api/part/${this.id}?top=${top}&left=${left}&height=${bottom - top}&width=${right - left}`;
    if (detail.getAttribute("src") !== source) {
      const loaded = new Image();
      loaded.src = source;
      this.detailed = source;
      await loaded.decode().catch(() => null);
      if (this.detailed !== source || !loaded.naturalWidth) return;
      detail.src = source;
    }
    const share = (value, i) => `${(100 * value) / this.own[i]}%`;
    Object.assign(detail.style, { left: share(left, 0), top: share(top, 1), width: share(right - left, 0), height: share(bottom - top, 1) });
    detail.hidden = false;
  }

  use(tool) {
    this.tool = tool;
    this.from = null;
    this.fit.classList.toggle("drawing", tool !== "");
    const [width, height] = this.size;
    this.rectangle = null;
    if (tool === "rectangle") {
      const w = Math.max(1, Math.round(width / 4));
      const h = Math.max(1, Math.round(height / 4));
      this.rectangle = [Math.round((width - w) / 2), Math.round((height - h) / 2), w, h];
    }
    this.drawBox();
  }

  at(event) {
    const { left, top, width, height } = this.fit.getBoundingClientRect();
    return [((event.clientX - left) / width) * this.size[0], ((event.clientY - top) / height) * this.size[1]];
  }

  begin(event) {
    if (!this.tool || event.button !== 0) return;
    event.preventDefault();
    this.fit.setPointerCapture(event.pointerId);
    this.from = this.last = this.at(event);
    if (this.tool !== "rectangle") this.stroke(this.from, this.from);
  }

  move(event) {
    if (!this.from) return;
    const now = this.at(event);
    if (this.tool === "rectangle") {
      const x = clamp(Math.floor(Math.min(this.from[0], now[0])), 0, this.size[0] - 1);
      const y = clamp(Math.floor(Math.min(this.from[1], now[1])), 0, this.size[1] - 1);
      const right = clamp(Math.ceil(Math.max(this.from[0], now[0])), x + 1, this.size[0]);
      const bottom = clamp(Math.ceil(Math.max(this.from[1], now[1])), y + 1, this.size[1]);
      this.rectangle = [x, y, right - x, bottom - y];
      this.dragged = true;
      this.drawBox();
    } else {
      this.stroke(this.last, now);
    }
    this.last = now;
  }

  end() {
    if (!this.from) return;
    this.from = null;
    if (this.tool === "rectangle") {
      if (this.dragged) this.fillBox();
      this.dragged = false;
    } else {
      this.hand();
    }
  }

  stroke(from, to) {
    this.pen.globalCompositeOperation = this.tool === "eraser" ? "destination-out" : "source-over";
    this.pen.strokeStyle = this.pen.fillStyle = COLOUR;
    this.pen.lineWidth = Number(element("width").value);
    this.pen.lineCap = this.pen.lineJoin = "round";
    this.pen.beginPath();
    this.pen.moveTo(...from);
    this.pen.lineTo(to[0] + (from === to ? 0.01 : 0), to[1]);
    this.pen.stroke();
    this.pen.globalCompositeOperation = "source-over";
  }

  moveBox(dx, dy, sizes, single) {
    const [width, height] = this.size;
    const step = single ? 1 : Math.max(1, Math.round(Math.min(width, height) / 64));
    let [x, y, w, h] = this.rectangle;
    if (sizes) {
      w = clamp(w + dx * step, 1, width - x);
      h = clamp(h + dy * step, 1, height - y);
    } else {
      x = clamp(x + dx * step, 0, width - w);
      y = clamp(y + dy * step, 0, height - h);
    }
    this.rectangle = [x, y, w, h];
    this.drawBox();
  }

  fillBox() {
    this.pen.fillStyle = COLOUR;
    this.pen.fillRect(...this.rectangle);
    this.hand();
  }

  clear() {
    this.pen.clearRect(0, 0, ...this.size);
    this.hand();
  }

  drawBox() {
    this.box.hidden = !this.rectangle;
    if (!this.rectangle) return;
    const [x, y, w, h] = this.rectangle.map((value) => value * this.scale);
    Object.assign(this.box.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px` });
  }

  hand() {
    this.drawn(new Promise((done) => this.canvas.toBlob(done, "image/png")));
  }
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));
