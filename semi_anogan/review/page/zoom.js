// How much of the picture is seen: wheel, keys and drags enlarge and move it in all frames alike.

const STEP = 1.25;
const MOST = 64; // screen pixels of a pixel of the image
const EDGE = 40; // screen pixels of the picture that stay in sight
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

  // Enlarges; what is at the event's place stays there, or else at the middle of what is seen.
  by(factor, frame, event) {
    const shown = frame ?? this.frames[0];
    const fit = shown.querySelector(".fit");
    const { left, top, width, height } = shown.getBoundingClientRect();
    const begin = [fit.offsetLeft, fit.offsetTop];
    const old = [fit.offsetWidth, fit.offsetHeight];
    const seen = [0, 1].map((i) => (Math.max(0, begin[i]) + Math.min([width, height][i], begin[i] + old[i])) / 2);
    const at = event ? [event.clientX - left, event.clientY - top] : seen;
    const where = [0, 1].map((i) => (at[i] - begin[i]) / old[i]);
    const size = [Number(fit.dataset.width), Number(fit.dataset.height)];
    this.times = Math.max(1, Math.min(this.times * factor, this.most / whole(shown, size)));
    const scale = scaleOf(shown, size, this.times);
    this.middle = [0, 1].map((i) => where[i] + ([width, height][i] / 2 - at[i]) / (size[i] * scale));
    this.changed();
  }

  // By so many screen pixels.
  move(dx, dy, frame = this.frames[0]) {
    const fit = frame.querySelector(".fit");
    this.middle = [this.middle[0] - dx / fit.offsetWidth, this.middle[1] - dy / fit.offsetHeight];
    this.changed();
  }

  // Puts a picture of a size into its frame; returns screen pixels of one of its pixels.
  place(fit, frame, [width, height], first) {
    const scale = scaleOf(frame, [width, height], this.times);
    const sides = [width * scale, height * scale];
    const room = [frame.clientWidth, frame.clientHeight];
    const begin = [0, 1].map((i) => {
      if (this.times === 1) return 0;
      const wanted = room[i] / 2 - this.middle[i] * sides[i];
      return Math.round(Math.min(room[i] - EDGE, Math.max(EDGE - sides[i], wanted)));
    });
    if (first) this.middle = [0, 1].map((i) => (room[i] / 2 - begin[i]) / sides[i]);
    Object.assign(fit.style, { width: `${sides[0]}px`, height: `${sides[1]}px`, left: `${begin[0]}px`, top: `${begin[1]}px` });
    Object.assign(fit.dataset, { width, height });
    fit.classList.toggle("sharp", scale > 3 || (this.times > 1 && scale >= 2));
    frame.classList.toggle("zoomed", this.times > 1);
    return scale;
  }
}

// Screen pixels of a pixel of a picture that is seen as a whole.
const whole = (frame, [width, height]) => Math.min(frame.clientWidth / width, frame.clientHeight / height) || 1;

// Screen pixels of one that is enlarged so many times: whole ones where they are large, so that all are alike.
function scaleOf(frame, size, times) {
  const scale = whole(frame, size) * times;
  const dots = window.devicePixelRatio || 1;
  return times > 1 && scale >= 2 ? Math.round(scale * dots) / dots : scale;
}

// Where in the picture of a frame an event is, as shares of its width and height.
function inside(frame, event) {
  const { left, top, width, height } = frame.querySelector(".fit").getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / height];
}
