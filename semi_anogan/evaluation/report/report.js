// What is live in a report: the threshold over its scores, and labels for its pictures. No server, no network.

import { element, make } from "/page/basics.js";
import { Scores } from "/page/scores.js";

const held = JSON.parse(element("report-data").textContent);

// A word of a command line, as a shell takes it.
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);

if (held.groups.length) {
  const scores = new Scores((value) => {
    element("take-over").textContent = `python -m semi_anogan.score --workdir=${quoted(held.run)} --input=NEW_IMAGES --output=SCORED --threshold=${value}`;
  });
  element("back").addEventListener("click", () => scores.set(held.threshold));
  scores.show(held.groups, held.threshold);
}

// A CSV file as data/review.py reads it. Bytes of a file's name that are no text come as lone surrogates.
const COLUMNS = ["path", "label", "kind", "mask", "origin", "who", "when"];
const field = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

export function bytesOf(text) {
  const found = [];
  const encoder = new TextEncoder();
  for (const sign of text) {
    const code = sign.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) found.push(code - 0xdc00);
    else found.push(...encoder.encode(sign));
  }
  return new Uint8Array(found);
}

class Sorting {
  constructor(items) {
    this.items = items; // path, origin
    this.said = new Map(); // place -> {label, kind, when}
    this.cards = [...document.querySelectorAll(".judge")];
    this.saved = true;
    this.current = 0;
    this.cards.forEach((card, place) => {
      card.addEventListener("focus", () => this.select(place));
      for (const label of ["normal", "abnormal"]) {
        card.querySelector(`.${label}`).addEventListener("click", () => this.say(place, this.said.get(place)?.label === label ? "" : label));
      }
    });
    element("sort-images").addEventListener("keydown", (event) => this.key(event));
    element("save-labels").addEventListener("click", () => this.save());
    window.addEventListener("beforeunload", (event) => {
      if (!this.saved) event.preventDefault();
    });
    this.select(0);
    this.tell();
  }

  select(place) {
    this.cards[this.current].tabIndex = -1;
    this.current = place;
    this.cards[place].tabIndex = 0;
  }

  go(place) {
    this.cards[Math.min(Math.max(place, 0), this.cards.length - 1)].focus();
  }

  say(place, label) {
    if (label) {
      const kind = label === "abnormal" ? element("kind").value.trim() : "";
      this.said.set(place, { label, kind, when: new Date().toISOString() });
    } else {
      this.said.delete(place);
    }
    const card = this.cards[place];
    for (const other of ["normal", "abnormal"]) card.querySelector(`.${other}`).setAttribute("aria-pressed", String(other === label));
    const { kind } = this.said.get(place) ?? {};
    card.querySelector(".kind-told").textContent = kind ? `kind: ${kind}` : "";
    this.saved = this.said.size === 0;
    this.tell();
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input")) return;
    const wide = this.cards.filter((card) => card.offsetTop === this.cards[this.current].offsetTop && card.parentElement === this.cards[this.current].parentElement).length;
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide, Home: -Infinity, End: Infinity }[event.key];
    const label = { n: "normal", a: "abnormal", u: "" }[event.key];
    if (by === undefined && label === undefined) return;
    event.preventDefault();
    if (by !== undefined) {
      this.go(this.current + by);
    } else {
      this.say(this.current, label);
      if (label) this.go(this.current + 1);
    }
  }

  tell() {
    const labels = [...this.said.values()].map((said) => said.label);
    const abnormal = labels.filter((label) => label === "abnormal").length;
    element("labels-told").textContent = `${labels.length - abnormal} normal and ${abnormal} abnormal of ${this.cards.length} images.`;
    element("save-labels").disabled = !labels.length;
  }

  text() {
    const rows = [...this.said].sort((a, b) => a[0] - b[0]).map(([place, { label, kind, when }]) => {
      const { path, origin } = this.items[place];
      return [path, label, kind, "", origin, element("who").value.trim(), when];
    });
    return [COLUMNS, ...rows].map((row) => row.map(field).join(",")).join("\r\n") + "\r\n";
  }

  save() {
    const address = URL.createObjectURL(new Blob([bytesOf(this.text())], { type: "text/csv" }));
    make("a", { href: address, download: "reviewed.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    this.saved = true;
    element("labels-told").textContent = `${this.said.size} labels are saved as reviewed.csv, where your browser keeps what it downloads.`;
  }
}

if (held.items.length) new Sorting(held.items);
