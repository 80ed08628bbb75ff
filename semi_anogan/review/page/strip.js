// The list of images: only the rows that can be seen are there, and pages of them are asked for as they come into view.

import { ask, element, make, number } from "/page/ask.js";

const ROW = 76; // pixels of a row, as in style.css
const PAGE = 100;

export class Strip {
  constructor(chosen) {
    this.place = element("strip");
    this.spacer = this.place.firstElementChild;
    this.chosen = chosen; // called with the place of an image that was clicked
    this.rows = new Map();
    this.asked = 0; // how often a list was asked for
    this.serial = 0; // how often one was shown
    this.reset("", 0);
    this.place.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.place);
  }

  reset(name, total) {
    this.name = name;
    this.total = total;
    this.pages = new Map();
    this.current = -1;
    this.serial += 1;
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.spacer.style.height = `${total * ROW}px`;
    this.place.scrollTop = 0;
  }

  // Whether the list is shown now: another one may have been asked for meanwhile, and answers overtake each other.
  async open(name) {
    const asked = ++this.asked;
    const first = await ask(`/api/list/${name}?start=0&count=${PAGE}&fresh=true`);
    if (asked !== this.asked) return false;
    this.reset(name, first.total);
    this.pages.set(0, Promise.resolve(first.items));
    this.draw();
    return true;
  }

  page(which) {
    if (!this.pages.has(which)) {
      const asked = ask(`/api/list/${this.name}?start=${which * PAGE}&count=${PAGE}`).then((found) => found.items);
      asked.catch(() => this.pages.delete(which));
      this.pages.set(which, asked);
    }
    return this.pages.get(which);
  }

  async item(place) {
    return (await this.page(Math.floor(place / PAGE)))[place % PAGE];
  }

  // Puts what the server said of an image in the place of what was known of it.
  async update(item) {
    for (const page of this.pages.values()) {
      const items = await page;
      const at = items.findIndex((other) => other.id === item.id);
      if (at >= 0) items[at] = item;
    }
    for (const [place, row] of this.rows) if (row.dataset.id === String(item.id)) this.fill(row, place);
  }

  select(place) {
    this.current = place;
    const top = place * ROW;
    const { scrollTop, clientHeight } = this.place;
    if (top < scrollTop || top + ROW > scrollTop + clientHeight) this.place.scrollTop = Math.max(0, top - clientHeight / 2 + ROW / 2);
    this.draw();
    this.place.setAttribute("aria-activedescendant", place >= 0 ? `row-${place}` : "");
  }

  draw() {
    const first = Math.max(0, Math.floor(this.place.scrollTop / ROW) - 4);
    const last = Math.min(this.total, Math.ceil((this.place.scrollTop + this.place.clientHeight) / ROW) + 4);
    for (const [place, row] of this.rows) {
      if (place < first || place >= last) {
        row.remove();
        this.rows.delete(place);
      }
    }
    for (let place = first; place < last; place++) {
      if (!this.rows.has(place)) {
        const row = make("div", { class: "item", role: "option", id: `row-${place}`, "aria-setsize": this.total, "aria-posinset": place + 1 });
        row.style.top = `${place * ROW}px`;
        row.addEventListener("click", () => this.chosen(place));
        this.rows.set(place, row);
        this.spacer.append(row);
        this.fill(row, place);
      }
      this.rows.get(place).setAttribute("aria-selected", String(place === this.current));
    }
  }

  async fill(row, place) {
    const serial = this.serial;
    const item = await this.item(place).catch(() => null);
    if (!item || serial !== this.serial) return;
    const said = item.label ? `${item.label}${item.kind ? `: ${item.kind}` : ""}${item.mask ? " (mask)" : ""}` : "no label";
    const figure = item.score !== null ? `score ${number(item.score)}` : item.suspicion !== null ? `suspicion ${number(item.suspicion)}` : "";
    row.title = item.path;
    if (row.dataset.id !== String(item.id)) {
      row.dataset.id = item.id;
      row.replaceChildren(make("img", { class: "thumb", alt: "", loading: "lazy", src: `/api/thumb/${item.id}` }), make("div", { class: "words" }));
    }
    row.lastChild.replaceChildren(make("b", {}, item.path.split("/").slice(-2).join("/")), make("span", {}, figure), make("span", { class: `said ${item.label}` }, said));
  }
}
