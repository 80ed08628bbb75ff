// Histograms of scores, a slider over them, and what follows from where it is. The report has it inlined.

import { element, make, number, percent } from "/page/basics.js";

const BINS = 80;
const WIDTH = 1000;
const ROW = 62;
const SVG = "http://www.w3.org/2000/svg";

export class Scores {
  // moved: called with the value, after it was set.
  constructor(moved) {
    this.moved = moved;
    this.groups = []; // of {name, words, scores}
    // What is shown of it is what counts.
    element("slider").addEventListener("input", () => this.set(Number(Number(element("slider").value).toPrecision(6))));
    element("value").addEventListener("change", () => {
      const value = element("value").valueAsNumber;
      if (Number.isFinite(value)) this.set(value);
    });
    for (const name of ["price-false", "price-miss", "price-look"]) element(name).addEventListener("input", () => this.count());
  }

  // used: the threshold that is in use.
  show(groups, used) {
    this.groups = groups;
    const all = groups.flatMap((group) => group.scores);
    const low = all.reduce((a, b) => Math.min(a, b), used);
    const high = all.reduce((a, b) => Math.max(a, b), used);
    const margin = (high - low || 1) / 40;
    this.ends = [low - margin, high + margin];
    const slider = element("slider");
    [slider.min, slider.max] = this.ends;
    slider.step = (this.ends[1] - this.ends[0]) / 1000;
    this.draw(used);
    this.set(used);
  }

  at(value) {
    return ((value - this.ends[0]) / (this.ends[1] - this.ends[0])) * WIDTH;
  }

  draw(threshold) {
    const height = this.groups.length * ROW + 24;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
    const add = (name, attributes, text) => {
      const made = document.createElementNS(SVG, name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      if (text !== undefined) made.textContent = text;
      svg.append(made);
      return made;
    };
    this.groups.forEach((group, row) => {
      const bottom = (row + 1) * ROW;
      const counts = new Array(BINS).fill(0);
      for (const score of group.scores) counts[Math.min(BINS - 1, Math.max(0, Math.floor((this.at(score) / WIDTH) * BINS)))]++;
      const most = Math.max(...counts);
      counts.forEach((count, bin) => {
        const tall = count ? Math.max(2, ((ROW - 26) * count) / most) : 0;
        if (count) add("rect", { x: (bin * WIDTH) / BINS + 0.5, y: bottom - tall, width: WIDTH / BINS - 1, height: tall, class: `scores-${group.name}` });
      });
      add("line", { x1: 0, x2: WIDTH, y1: bottom, y2: bottom, class: "scores-axis" });
      add("text", { x: 4, y: bottom - ROW + 17, class: "scores-words", "font-size": 14 }, `${group.words}: ${group.scores.length} images`);
    });
    for (let i = 0; i <= 8; i++) {
      const value = this.ends[0] + ((this.ends[1] - this.ends[0]) * i) / 8;
      const anchor = i === 0 ? "start" : i === 8 ? "end" : "middle";
      add("text", { x: (i * WIDTH) / 8, y: height - 6, class: "scores-value", "font-size": 13, "text-anchor": anchor }, number(value, 3));
    }
    const used = this.at(threshold);
    add("line", { x1: used, x2: used, y1: 0, y2: height - 24, class: "scores-line", "stroke-dasharray": "3 5" });
    this.line = add("line", { y1: 0, y2: height - 24, class: "scores-line", "stroke-width": 2.5 });
    element("histogram").replaceChildren(svg);
  }

  set(value) {
    this.value = value;
    element("slider").value = value;
    element("value").value = Number(value.toPrecision(6));
    element("slider").setAttribute("aria-valuetext", number(value, 5));
    this.line?.setAttribute("x1", this.at(value));
    this.line?.setAttribute("x2", this.at(value));
    this.count();
    this.moved(value);
  }

  above(name) {
    const group = this.groups.find((other) => other.name === name);
    return group ? group.scores.filter((score) => score > this.value).length : 0;
  }

  all(name) {
    return this.groups.find((group) => group.name === name)?.scores.length ?? 0;
  }

  count() {
    const rows = this.groups.map((group) => {
      const above = this.above(group.name);
      const meaning = {
        test_normal: `${above} false alarms`,
        test_abnormal: `${group.scores.length - above} misses`,
        scored: `${above} to look at`,
      }[group.name];
      return make("tr", {}, make("td", {}, group.words), cell(group.scores.length), cell(above), cell(percent(above / group.scores.length)), make("td", {}, meaning ?? ""));
    });
    const head = ["Images", "Number", "Above", "Share", ""].map((text, i) => make("th", { class: i && i < 4 ? "number" : "", scope: "col" }, text));
    element("figures").replaceChildren(make("tr", {}, ...head), ...rows);
    const price = (id) => Math.max(0, element(id).valueAsNumber || 0);
    const falseAlarms = this.above("test_normal");
    const misses = this.all("test_abnormal") - this.above("test_abnormal");
    const looks = this.all("scored") ? this.above("scored") : falseAlarms + this.above("test_abnormal");
    const of = this.all("scored") ? "newly scored" : "test";
    const prices = ["price-false", "price-miss", "price-look"].map(price);
    const cost = falseAlarms * prices[0] + misses * prices[1] + looks * prices[2];
    element("cost").textContent =
      `Cost ${number(cost, 6)}: ${falseAlarms} false alarms x ${prices[0]} + ${misses} misses x ${prices[1]} + ${looks} ${of} images to look at x ${prices[2]}`;
  }
}

const cell = (text) => make("td", { class: "number" }, String(text));
