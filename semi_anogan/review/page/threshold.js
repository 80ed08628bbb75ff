// The threshold: histograms of scores, a slider, and what follows from it.

import { ask, element, make, number, percent, toast, who } from "/page/ask.js";

const COLOURS = { held_out: "#8fb8ff", known: "#ffb86b", test_normal: "#7fdc9b", test_abnormal: "#ff9c94", scored: "#d5b3ff" };
const BINS = 80;
const WIDTH = 1000;
const ROW = 62;
const SVG = "http://www.w3.org/2000/svg";

export class Threshold {
  constructor(changed) {
    this.changed = changed; // called with the state of the run
    this.groups = [];
    element("slider").addEventListener("input", () => this.set(Number(element("slider").value)));
    element("value").addEventListener("change", () => {
      const value = element("value").valueAsNumber;
      if (Number.isFinite(value)) this.set(value);
    });
    for (const name of ["price-false", "price-miss", "price-look"]) element(name).addEventListener("input", () => this.count());
    element("use").addEventListener("click", () => this.choose({ method: "PUT", json: { threshold: this.value, who: who() } }));
    element("calibrated").addEventListener("click", () => this.choose({ method: "DELETE" }));
  }

  told(state) {
    this.state = state;
    const chosen = state.chosen;
    element("threshold-now").textContent = chosen
      ? `In use is ${number(chosen.threshold, 6)}, chosen${chosen.who ? ` by ${chosen.who}` : ""} on ${chosen.when.slice(0, 10)}; before it was ${number(chosen.former, 6)}, calibrated is ${number(state.calibrated, 6)}.`
      : `In use is the calibrated one, ${number(state.calibrated, 6)}.`;
    element("calibrated").disabled = !chosen;
  }

  async open() {
    try {
      this.groups = (await ask("/api/scores")).groups;
    } catch (error) {
      toast(error.message, true);
      return;
    }
    const all = this.groups.flatMap((group) => group.scores);
    const low = all.reduce((a, b) => Math.min(a, b), this.state.threshold);
    const high = all.reduce((a, b) => Math.max(a, b), this.state.threshold);
    const margin = (high - low || 1) / 40;
    this.ends = [low - margin, high + margin];
    const slider = element("slider");
    [slider.min, slider.max] = this.ends;
    slider.step = (this.ends[1] - this.ends[0]) / 1000;
    this.draw();
    this.set(this.state.threshold);
  }

  at(value) {
    return ((value - this.ends[0]) / (this.ends[1] - this.ends[0])) * WIDTH;
  }

  draw() {
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
        if (count) add("rect", { x: (bin * WIDTH) / BINS + 0.5, y: bottom - tall, width: WIDTH / BINS - 1, height: tall, fill: COLOURS[group.name] });
      });
      add("line", { x1: 0, x2: WIDTH, y1: bottom, y2: bottom, stroke: "#7d8696" });
      add("text", { x: 4, y: bottom - ROW + 17, fill: "#eceef2", "font-size": 14 }, `${group.words}: ${group.scores.length} images`);
    });
    for (let i = 0; i <= 8; i++) {
      const value = this.ends[0] + ((this.ends[1] - this.ends[0]) * i) / 8;
      const anchor = i === 0 ? "start" : i === 8 ? "end" : "middle";
      add("text", { x: (i * WIDTH) / 8, y: height - 6, fill: "#b4bac6", "font-size": 13, "text-anchor": anchor }, number(value, 3));
    }
    const used = this.at(this.state.threshold);
    add("line", { x1: used, x2: used, y1: 0, y2: height - 24, stroke: "#eceef2", "stroke-dasharray": "3 5" });
    this.line = add("line", { y1: 0, y2: height - 24, stroke: "#ffffff", "stroke-width": 2.5 });
    element("histogram").replaceChildren(svg);
  }

  set(value) {
    this.value = value;
    element("slider").value = value;
    element("value").value = Number(value.toPrecision(6));
    element("slider").setAttribute("aria-valuetext", number(value, 5));
    this.line?.setAttribute("x1", this.at(value));
    this.line?.setAttribute("x2", this.at(value));
    element("threshold-done").textContent = "";
    this.count();
    clearTimeout(this.asking);
    this.asking = setTimeout(() => this.expect(value), 200);
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

  async expect(value) {
    const found = await ask(`/api/rate?threshold=${value}`).catch(() => null);
    if (value !== this.value) return;
    element("expected").textContent =
      found?.rate === null || !found ? "" : `Of new normal images about ${percent(found.rate)} would be false alarms, as the ${found.normals} normal scores that the calibration rests on say.`;
  }

  async choose(how) {
    try {
      const state = await ask("/api/threshold", how);
      await this.changed(state);
      this.draw();
      this.set(state.threshold);
      element("threshold-done").textContent =
        `${number(state.threshold, 6)} is in use now by score, evaluate and export. The figures and the report of the run are those of before until: python -m semi_anogan.evaluate --workdir=${state.run}`;
    } catch (error) {
      toast(error.message, true);
    }
  }
}

const cell = (text) => make("td", { class: "number" }, String(text));
