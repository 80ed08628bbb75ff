// Why: what a place of the picture is near to, and what the generator makes of the picture.

import { ask, element, make, number } from "/page/ask.js";

export class Why {
  constructor() {
    this.shown = false;
    this.details = null;
    this.asking = false; // one question at a time: the latest is asked next
    this.next = null;
    this.serial = 0;
  }

  toggle(details) {
    this.shown = !this.shown;
    element("why").hidden = !this.shown;
    element("why-open").setAttribute("aria-expanded", String(this.shown));
    this.show(details);
  }

  // Another image is looked at, or none.
  show(details) {
    this.details = details;
    this.clear();
    if (this.shown && details) this.want("");
  }

  clear() {
    this.serial++;
    this.next = null;
    for (const place of document.querySelectorAll(".place")) place.hidden = true;
    element("why-told").textContent = "";
    element("why-told").className = "";
    element("why-found").replaceChildren();
  }

  // A place, as shares of width and height.
  click(x, y) {
    if (!this.shown || !this.details) return;
    const [height, width] = this.details.size;
    this.clear();
    this.want(`?y=${(y * height).toFixed(1)}&x=${(x * width).toFixed(1)}`);
  }

  want(query) {
    element("why-told").textContent = "Looking for it. The first time takes up to a minute, as the detector is loaded.";
    this.next = { id: this.details.id, query, serial: this.serial };
    if (!this.asking) this.run();
  }

  async run() {
    this.asking = true;
    while (this.next) {
      const now = this.next;
      this.next = null;
      try {
        const found = await ask(`/api/why/${now.id}${now.query}`);
        if (now.serial !== this.serial) continue;
        this.draw(found);
        if (now.query) continue;
        const drawn = await ask(`/api/why/${now.id}?drawn=true`);
        if (now.serial === this.serial) this.drawGenerator(drawn);
      } catch (error) {
        if (now.serial !== this.serial) continue;
        element("why-told").textContent = error.message;
        element("why-told").className = "error";
      }
    }
    this.asking = false;
  }

  draw(found) {
    const [height, width] = found.size;
    const where = found.clicked ? "at the place that was clicked" : "where the map is highest";
    element("why-told").textContent =
      found.distance === undefined
        ? ""
        : `Marked ${where}: the memory's distance is ${number(found.distance, 3)}${found.support > 1 ? ", the mean of two images" : ""}. ` +
          `Of held-out normal images the farthest tenth has ${number(found.usual[0], 3)} on the median, ${number(found.usual[1], 3)} at 80 %.`;
    if (found.box) {
      for (const place of document.querySelectorAll(".place")) {
        put(place, found.box, [height, width]);
        place.hidden = false;
      }
    }
    const parts = [];
    if (found.crop) parts.push(group("Here", [this.figure({ crop: found.crop, inner: found.inner, words: [] })]));
    if (found.normal.length) {
      const figures = found.normal.map((one) => this.figure({ ...one, words: [`distance ${number(one.distance, 3)}`, one.how === "found again" ? "" : one.how] }));
      parts.push(group("Nearest normal patches", figures, "the nearest remembered patch of each of the nearest images"));
    }
    if (found.known.length) {
      const words = (one) => [`${one.kind ? `${one.kind}, ` : ""}distance ${number(one.distance, 3)}`, one.masked ? "" : "no mask: its least normal places"];
      parts.push(group("Nearest known defects", found.known.map((one) => this.figure({ ...one, words: words(one) })), "of the known defects of the training, by the same features"));
    } else if (found.known_count === 0) {
      found.notes.push("no defect is known to this run");
    }
    this.generator = make("div", { class: "why-group" });
    this.notes = make("p", { class: "quiet" }, found.notes.join("; "));
    element("why-found").replaceChildren(...parts, this.generator, this.notes);
  }

  drawGenerator(found) {
    if (found.reconstruction) {
      const figure = (source, words) => make("figure", { class: "crop" }, make("div", { class: "crop-frame" }, make("img", { src: source, alt: words })), make("figcaption", {}, words));
      this.generator.replaceChildren(...group("What the generator makes of it", [figure(found.reconstruction, "reconstruction"), figure(found.difference, "difference, white: large")]).childNodes);
    }
    const told = [this.notes.textContent, ...found.notes].filter(Boolean);
    this.notes.textContent = told.join("; ");
  }

  figure({ crop, inner, path, id, box, size, words }) {
    const frame = make("div", { class: "crop-frame" });
    if (crop) {
      frame.append(make("img", { src: crop, alt: path ?? "the marked place" }));
      const mark = make("div", { class: "mark" });
      put(mark, inner.slice(0, 4), inner.slice(4));
      frame.append(mark);
    }
    const caption = make("figcaption", {}, ...(path ? [make("b", {}, path.split("/").pop())] : []), ...words.filter(Boolean).map((text) => make("span", {}, text)));
    if (!path || !box) return make("figure", { class: "crop" }, frame, caption);
    const button = make("button", { class: "crop", title: `${path}: the whole image`, onclick: () => whole(path, id, box, size) }, frame, caption);
    return button;
  }
}

function group(words, figures, title = "") {
  return make("div", { class: "why-group" }, make("h3", { title }, words), make("div", { class: "why-row" }, ...figures));
}

// Lays a mark over what shows an image of a size: box is (top, left, height, width) of it.
function put(mark, [top, left, height, width], [whole, wide]) {
  Object.assign(mark.style, { top: `${(100 * top) / whole}%`, left: `${(100 * left) / wide}%`, height: `${(100 * height) / whole}%`, width: `${(100 * width) / wide}%` });
}

function whole(path, id, box, size) {
  element("whole-title").textContent = path;
  element("whole-picture").src = `/api/picture/${id}`;
  element("whole-picture").alt = path;
  put(element("whole-place"), box, size);
  element("whole").showModal();
}
