// Sorting: the image that is looked at, its label, and what is undone.

import { ask, element, make, number, tail, toast, who } from "/page/ask.js";
import { Picture } from "/page/picture.js";
import { Strip } from "/page/strip.js";
import { Why } from "/page/why.js";

const TOOLS = ["brush", "rectangle", "eraser"];
const TOLD = {
  "": "",
  brush: "Draw on the image with the mouse.",
  eraser: "Wipe with the mouse.",
  rectangle: "Drag a box, or: arrows move it, Shift and arrows size it, Ctrl takes single pixels, Enter adds it.",
};
const ORIGINS = {
  training: "",
  test: "A test image: your label is kept, but no detector is ever trained on it.",
  scored: "",
};

export class Sort {
  constructor(changed) {
    this.changed = changed; // called when labels have changed
    this.strip = new Strip((place) => this.go(place));
    this.picture = new Picture((png) => this.saveMask(png), (x, y) => this.why.click(x, y));
    this.why = new Why();
    this.done = []; // what `undo` takes back
    this.waiting = Promise.resolve(); // changes are sent one after the other
    this.item = null;
    this.kinds = [];
    this.map = true;
    this.generation = 0;
    element("list").addEventListener("change", () => this.open(element("list").value));
    element("list-fresh").addEventListener("click", () => this.open(element("list").value));
    element("normal").addEventListener("click", () => this.say("normal"));
    element("abnormal").addEventListener("click", () => this.say("abnormal"));
    element("skip").addEventListener("click", () => this.step(1));
    element("undo").addEventListener("click", () => this.undo());
    element("clear").addEventListener("click", () => this.picture.clear());
    element("why-open").addEventListener("click", () => this.why.toggle(this.item?.view ? this.item : null));
    element("zoom-in").addEventListener("click", () => this.enlarge(1));
    element("zoom-out").addEventListener("click", () => this.enlarge(-1));
    element("zoom-fit").addEventListener("click", () => this.enlarge(0));
    for (const tool of TOOLS) element(tool).addEventListener("click", () => this.use(this.picture.tool === tool ? "" : tool));
    element("new-kind").addEventListener("submit", (event) => {
      event.preventDefault();
      const kind = element("kind").value.trim();
      if (!kind) return;
      element("kind").value = "";
      element("strip").focus();
      this.say("abnormal", kind);
    });
    element("width").addEventListener("input", () => this.tellWidth());
    element("picture").addEventListener("error", () => this.tellError());
    this.tellWidth();
  }

  // What the server says of the run.
  async told(state) {
    this.kinds = state.kinds;
    this.drawKinds();
    const chosen = element("list").value;
    this.tellLists(state.lists);
    if (state.generation !== this.generation) {
      this.generation = state.generation;
      const first = state.lists.find((list) => list.count) ?? state.lists[0];
      await this.open(state.lists.some((list) => list.name === chosen && list.count) ? chosen : first.name);
    } else {
      element("list").value = chosen;
    }
  }

  // How many images each list has now, and the one that is shown beyond those in view.
  tellLists(lists) {
    this.lists = lists;
    const options = element("list").options;
    const words = lists.map((list) => `${list.words} (${list.count})`);
    if (words.some((text, i) => options[i]?.text !== text)) {
      const chosen = element("list").value;
      element("list").replaceChildren(...lists.map((list, i) => make("option", { value: list.name }, words[i])));
      if (chosen) element("list").value = chosen;
    }
    const shown = lists.find((list) => list.name === this.strip.name);
    const more = shown ? shown.count - this.strip.total : 0;
    element("list-more").textContent = more > 0 ? `${more} more` : "Refresh";
  }

  async open(name) {
    element("list").value = name;
    element("list-more").textContent = "Refresh";
    try {
      if (!(await this.strip.open(name))) return;
    } catch (error) {
      toast(error.message, true);
      return;
    }
    await this.go(0);
  }

  async go(place) {
    if (this.strip.total === 0) {
      this.place = -1;
      this.item = null;
      this.show(null);
      return;
    }
    this.place = Math.min(Math.max(place, 0), this.strip.total - 1);
    this.strip.select(this.place);
    const wanted = this.place;
    const { serial } = this.strip;
    const left = () => wanted !== this.place || serial !== this.strip.serial;
    element("list-told").textContent = `${wanted + 1} of ${this.strip.total}`;
    try {
      const item = await this.strip.item(wanted);
      if (left()) return;
      this.item = item;
      this.showLabel();
      await this.waiting; // what is said of it meanwhile counts
      const details = await ask(`/api/image/${item.id}`);
      if (left() || this.item.id !== details.id) return;
      this.item = details;
      this.known?.delete(details.id);
      this.strip.update(details);
      await this.show(details);
      for (const next of [wanted + 1, wanted + 2]) this.preload(next);
    } catch (error) {
      if (!left()) {
        this.show(null);
        element("path").textContent = this.item?.path ?? "";
        this.tell(error.message);
      }
    }
  }

  async preload(place) {
    if (place >= this.strip.total) return;
    const item = await this.strip.item(place).catch(() => null);
    if (item) new Image().src = `/api/picture/${item.id}`;
  }

  step(by) {
    if (this.place + by >= this.strip.total) toast("That was the last image of this list.");
    return this.go(this.place + by);
  }

  async nextList() {
    const options = [...element("list").options].map((option) => option.value);
    await this.open(options[(options.indexOf(element("list").value) + 1) % options.length]);
  }

  async show(details) {
    element("picture-error").hidden = true;
    element("own").hidden = element("found").hidden = !details;
    this.why.show(details);
    if (!details) {
      element("path").textContent = "There is no image in this list.";
      element("list-told").textContent = "";
      element("regions").textContent = "";
      element("known").hidden = true;
      this.showLabel();
      return;
    }
    const found = details.overlay ? "overlay" : details.map ? "map" : "";
    element("found").hidden = !found || !this.map;
    element("found-words").textContent = found === "overlay" ? "Map and regions" : "Map";
    if (found) element("overlay").src = `/api/${found}/${details.id}`;
    element("overlay").alt = found ? "where the image is abnormal" : "";
    const figures = [
      details.score !== null ? `score ${number(details.score, 6)}` : "",
      details.suspicion !== null ? `suspicion ${number(details.suspicion)}` : "",
      details.truth ? `labelled ${details.truth} in the data` : "",
      `${details.size[1]} x ${details.size[0]} pixels`,
      found ? "" : "no map (--scored shows those that score wrote)",
    ];
    element("path").title = details.path;
    element("path").textContent = [tail(details.path), ...figures.filter(Boolean)].join("  ·  ");
    element("regions").textContent = details.regions
      .map((region) => `Region ${region.number}: ${region.kind ? `most like ${region.kind} (${number(region.kind_likeness, 2)})` : `peak ${number(region.peak, 3)}`}`)
      .join("  ·  ");
    this.showLabel();
    this.showKnown(details);
    await this.picture.show(details, `/api/picture/${details.id}`, details.mask ? `/api/mask/${details.id}?of=${details.revision}` : "");
    this.use(this.picture.tool);
  }

  // Known defects of the kind that the first region is most like, to compare.
  async showKnown(details) {
    const kind = details.regions.find((region) => region.kind)?.kind;
    element("known").hidden = !kind || !this.shownKinds?.get(kind)?.length;
    if (!kind) return;
    this.shownKinds ??= new Map();
    if (!this.shownKinds.has(kind)) {
      const found = await ask(`/api/known?kind=${encodeURIComponent(kind)}`).catch(() => ({ items: [] }));
      this.shownKinds.set(kind, found.items);
    }
    if (this.item?.id !== details.id) return;
    const items = this.shownKinds.get(kind);
    element("known").hidden = !items.length;
    element("known-words").textContent = `Known defects of the kind ${kind}, to compare:`;
    if (element("known-images").dataset.kind === kind) return;
    element("known-images").dataset.kind = kind;
    element("known-images").replaceChildren(...items.map((item) => make("img", { src: `/api/thumb/${item.id}`, alt: item.path, title: item.path })));
  }

  showLabel() {
    const item = this.item;
    const now = element("label-now");
    now.textContent = item?.label ? `${item.label[0].toUpperCase()}${item.label.slice(1)}${item.kind ? `: ${item.kind}` : ""}` : "No label";
    now.className = item?.label ?? "";
    element("label-by").textContent = item?.when ? `${item.who ? `by ${item.who}, ` : ""}${item.when.replace("T", " ").slice(0, 16)} UTC${item.mask ? ", with a mask" : ""}` : "";
    element("origin-told").textContent = ORIGINS[item?.origin] ?? "";
    for (const name of ["normal", "abnormal"]) element(name).classList.toggle("is-now", item?.label === name);
    for (const button of element("kinds").children) button.classList.toggle("is-now", Boolean(item?.kind) && button.dataset.kind === item.kind);
    for (const name of ["normal", "abnormal", "clear", ...TOOLS]) element(name).disabled = !item;
    element("undo").disabled = !this.done.length;
  }

  drawKinds() {
    element("kinds").replaceChildren(
      ...this.kinds.map((kind, i) =>
        make("button", { "data-kind": kind, onclick: () => this.say("abnormal", kind) }, ...(i < 9 ? [make("kbd", {}, String(i + 1)), " "] : []), kind),
      ),
    );
    this.showLabel();
  }

  // Sends a change of an image, after those before it. `send` gets the item as it is then.
  change(item, send) {
    const sent = this.waiting.then(async () => {
      const before = this.latest(item);
      try {
        const after = await send(before);
        this.take(after);
        this.changed();
        return { before, after };
      } catch (error) {
        if (error.status === 409 && error.item) {
          this.take(error.item);
          const said = error.item.label || "no label";
          toast(`${error.item.path} was changed meanwhile${error.item.who ? ` by ${error.item.who}` : ""}: ${said}. Your change was not saved.`, true);
          if (this.item?.id === error.item.id) this.reloadMask();
        } else {
          toast(error.message, true);
        }
        return null;
      }
    });
    this.waiting = sent;
    return sent;
  }

  latest(item) {
    return this.known?.get(item.id) ?? item;
  }

  take(item) {
    this.known ??= new Map();
    this.known.set(item.id, item);
    this.strip.update(item);
    if (this.item?.id === item.id) {
      this.item = { ...this.item, ...item };
      this.showLabel();
    }
    if (item.kind && !this.kinds.includes(item.kind)) {
      this.kinds = [...this.kinds, item.kind];
      this.drawKinds();
    }
  }

  async say(label, kind = "") {
    const item = this.item;
    if (!item) return;
    const mine = this.change(item, (now) =>
      ask(`/api/label/${item.id}`, {
        method: "PUT",
        json: { revision: now.revision, label, kind: kind || (label === "abnormal" && now.label === "abnormal" ? now.kind : ""), who: who() },
      }),
    );
    const found = await mine;
    if (!found) return;
    this.done.push({ item, before: found.before });
    element("undo").disabled = false;
    if (this.item?.id === item.id && this.place + 1 < this.strip.total) await this.go(this.place + 1);
    else if (this.item?.id === item.id) toast("That was the last image of this list.");
  }

  saveMask(png) {
    const item = this.item;
    this.change(item, async (now) =>
      ask(`/api/mask/${item.id}?revision=${now.revision}&who=${encodeURIComponent(who())}`, { method: "PUT", body: await png, type: "image/png" }),
    ).then((found) => {
      if (!found) {
        if (this.item?.id === item.id) this.reloadMask();
        return;
      }
      this.done.push({ item, before: found.before });
      element("undo").disabled = false;
    });
  }

  async undo() {
    await this.waiting;
    const last = this.done.pop();
    if (!last) {
      toast("There is nothing to undo.");
      return;
    }
    const { label, kind, mask } = last.before;
    const found = await this.change(last.item, (now) =>
      ask(`/api/label/${last.item.id}`, { method: "PUT", json: { revision: now.revision, label, kind, mask, who: who() } }),
    );
    if (found) toast(`Undone: ${last.item.path.split("/").pop()} is ${label || "without a label"} again.`);
    for (let place = 0; place < this.strip.total; place++) {
      const page = this.strip.pages.get(Math.floor(place / 100));
      if (page && (await page)[place % 100]?.id === last.item.id) {
        await this.go(place);
        break;
      }
    }
    element("undo").disabled = !this.done.length;
  }

  reloadMask() {
    const item = this.item;
    return this.picture.load(item.mask ? `/api/mask/${item.id}?of=${item.revision}` : "");
  }

  use(tool) {
    this.picture.use(this.item ? tool : "");
    for (const name of TOOLS) element(name).setAttribute("aria-pressed", String(this.picture.tool === name));
    element("tool-told").textContent = TOLD[this.picture.tool];
  }

  // By a step, up (1) or down (-1); 0: the whole picture.
  enlarge(by) {
    if (!this.item) return;
    if (by) {
      this.picture.zoom.by(by > 0 ? 1.5 : 1 / 1.5);
    } else {
      this.picture.zoom.reset();
      this.picture.layout();
    }
  }

  // Of brush and eraser; else the picture is enlarged.
  wider(by) {
    if (!["brush", "eraser"].includes(this.picture.tool)) {
      this.enlarge(by);
      return;
    }
    element("width").value = Number(element("width").value) + by;
    this.tellWidth();
  }

  tellWidth() {
    element("width-told").textContent = `${element("width").value} pixels`;
  }

  tell(text) {
    element("picture-error").textContent = text;
    element("picture-error").hidden = false;
  }

  async tellError() {
    if (!this.item) return;
    element("own").hidden = true;
    try {
      await ask(`/api/picture/${this.item.id}`);
      this.tell("The picture could not be loaded.");
    } catch (error) {
      this.tell(error.message);
    }
  }

  // A key; true where it was one of ours.
  key(event) {
    const picture = this.picture;
    const arrows = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (picture.tool === "rectangle" && this.item) {
      if (arrows) {
        picture.moveBox(...arrows, event.shiftKey, event.ctrlKey);
        return true;
      }
      if (event.key === "Enter" && !event.target.closest("button, select, a")) {
        picture.fillBox();
        return true;
      }
    }
    if (event.ctrlKey) return false;
    if (arrows && event.shiftKey) {
      picture.zoom.move(-80 * arrows[0], -80 * arrows[1]);
      return true;
    }
    if (arrows) {
      this.step(arrows[0] + arrows[1]);
      return true;
    }
    if (/^[1-9]$/.test(event.key)) {
      const kind = this.kinds[Number(event.key) - 1];
      if (kind) this.say("abnormal", kind);
      else toast(`There is no kind ${event.key} yet: k names a new one.`);
      return true;
    }
    const keys = {
      n: () => this.say("normal"),
      a: () => this.say("abnormal"),
      s: () => this.step(1),
      u: () => this.undo(),
      k: () => element("kind").focus(),
      l: () => this.nextList(),
      r: () => this.open(element("list").value),
      b: () => this.use(picture.tool === "brush" ? "" : "brush"),
      e: () => this.use(picture.tool === "eraser" ? "" : "eraser"),
      x: () => this.use(picture.tool === "rectangle" ? "" : "rectangle"),
      c: () => this.item && picture.clear(),
      m: () => {
        this.map = !this.map;
        if (this.item) element("found").hidden = !this.map || !(this.item.overlay || this.item.map);
      },
      Home: () => this.go(0),
      End: () => this.go(this.strip.total - 1),
      Escape: () => this.use(""),
      w: () => this.why.toggle(this.item?.view ? this.item : null),
      "+": () => this.wider(1),
      "-": () => this.wider(-1),
      0: () => this.enlarge(0),
    };
    if (!Object.hasOwn(keys, event.key)) return false;
    keys[event.key]();
    return true;
  }
}
