// How much of the picture is seen: wheel, keys and drags enlarge and move it in all frames alike.

const STEP = 1.25;
const MOST = 64; // screen pixels of a pixel of the image
const CLICK = 4; // screen pixels that the mouse may move in a click

export class Zoom {
  // changed: called when another part is to be seen; clicked: with the place, as shares of width and height.
  constructor(frames, changed, clicked, drawing) {
    this.frames = frames;
    this.changed = changed;
    this.most = MOST;
    this.reset();
    for (const frame of frames) {
      let from = null;
      frame.addEventListener(
        "wheel",
        (event) => {
          if (event.ctrlKey || !event.deltaY) return;
          event.preventDefault();
          this.by(event.deltaY < 0 ? STEP : 1 / STEP, frame, event);
        },
        { passive: false },
      );
      frame.addEventListener("pointerdown", (event) => {
        if (event.button > 1 || (event.button === 0 && drawing(frame))) return;
        event.preventDefault();
        if (document.activeElement?.matches("input, select")) document.activeElement.blur();
        frame.setPointerCapture(event.pointerId);
        from = { x: event.clientX, y: event.clientY, far: false, button: event.button };
      });
      frame.addEventListener("pointermove", (event) => {
        if (!from) return;
        const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
        if (!from.far && Math.hypot(dx, dy) < CLICK) return;
        Object.assign(from, { x: event.clientX, y: event.clientY, far: true });
        this.move(dx, dy, frame);
      });
      frame.addEventListener("pointerup", (event) => {
        const was = from;
        from = null;
        if (!was || was.far || was.button !== 0) return;
        const [x, y] = inside(frame, event);
        if (x >= 0 && x < 1 && y >= 0 && y < 1) clicked(x, y);
      });
      frame.addEventListener("pointercancel", () => (from = null));
    }
  }

  reset() {
    this.times = 1;
    this.middle = [0.5, 0.5];
  }

  // Enlarges; what is at the event's place stays there.
  by(factor, frame, event) {
    const shown = frame ?? this.frames[0];
    const { left, top, width, height } = shown.getBoundingClientRect();
    const at = event ? [event.clientX - left, event.clientY - top] : [width / 2, height / 2];
    const where = event ? inside(shown, event) : [...this.middle];
    const fit = shown.querySelector(".fit");
    const times = Math.min(Math.max(this.times * factor, 1), this.most / this.base(shown, fit));
    const by = times / this.times;
    this.times = Math.max(1, times);
    const sides = [fit.offsetWidth * by, fit.offsetHeight * by];
    this.middle = [0, 1].map((i) => where[i] + ([width, height][i] / 2 - at[i]) / sides[i]);
    this.changed();
  }

  base(frame, fit) {
    return fit.offsetWidth / this.times / fit.dataset.width;
  }

  // By so many screen pixels.
  move(dx, dy, frame = this.frames[0]) {
    const fit = frame.querySelector(".fit");
    this.middle = [this.middle[0] - dx / fit.offsetWidth, this.middle[1] - dy / fit.offsetHeight];
    this.changed();
  }

  // Puts a picture of a size into its frame; returns screen pixels of one of its pixels.
  place(fit, frame, [width, height], first) {
    const whole = Math.min(frame.clientWidth / width, frame.clientHeight / height) || 1;
    let scale = whole * this.times;
    const dots = window.devicePixelRatio || 1;
    if (this.times > 1 && scale >= 2) scale = Math.round(scale * dots) / dots; // whole pixels, all alike
    const sides = [width * scale, height * scale];
    const room = [frame.clientWidth, frame.clientHeight];
    const begin = [0, 1].map((i) => Math.round(Math.min(0, Math.max(room[i] - sides[i], room[i] / 2 - this.middle[i] * sides[i]))));
    if (first) {
      this.middle = [0, 1].map((i) => (sides[i] > room[i] ? (room[i] / 2 - begin[i]) / sides[i] : 0.5));
      this.scale = scale;
    }
    Object.assign(fit.style, { width: `${sides[0]}px`, height: `${sides[1]}px`, left: `${begin[0]}px`, top: `${begin[1]}px` });
    fit.dataset.width = width;
    fit.classList.toggle("sharp", scale > 3 || (this.times > 1 && scale >= 2));
    frame.classList.toggle("zoomed", this.times > 1);
    return scale;
  }
}

// Where in the picture of a frame an event is, as shares of its width and height.
function inside(frame, event) {
  const { left, top, width, height } = frame.querySelector(".fit").getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / height];
}
