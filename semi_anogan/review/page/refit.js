// The refit: its progress, and the figures before and after.

import { ask, element, make, number, percent, toast } from "/page/ask.js";

const ROWS = [
  ["auroc", "Image AUROC", (value) => number(value, 4), 1],
  ["recall", "Recall", percent, 1],
  ["false_alarm_rate", "False alarms", percent, -1],
  ["aupro", "AUPRO", (value) => number(value, 4), 1],
  ["threshold", "Threshold in use", (value) => number(value, 6), 0],
  ["known", "Known defects", String, 0],
  ["test_normal", "Normal test images", String, 0],
  ["test_abnormal", "Abnormal test images", String, 0],
];

export class Refit {
  constructor(changed) {
    this.changed = changed; // called when the detector is another one
    element("refit-begin").addEventListener("click", () => this.send("/api/refit", "POST"));
    element("refit-stop").addEventListener("click", () => this.send("/api/refit", "DELETE"));
    element("refit-undo").addEventListener("click", () => this.undo());
  }

  told(state) {
    const of = (name) => `${state.counts[name].normal} normal, ${state.counts[name].abnormal} abnormal`;
    element("refit-labels").textContent =
      `Labels: training images ${of("training")}; newly scored images ${of("scored")}, which join the training images; test images ${of("test")}, which are kept but never trained on.`;
    element("command").textContent = state.command;
    element("refit-why").textContent = state.why_no_refit ? `Not possible now: ${state.why_no_refit}` : "";
    element("refit-undo").hidden = !state.can_undo;
    this.can = !state.why_no_refit;
    element("refit-begin").disabled = !this.can || this.state === "running";
  }

  async open() {
    clearTimeout(this.timer);
    let found;
    try {
      found = await ask("/api/refit");
    } catch (error) {
      toast(error.message, true);
      return;
    }
    const before = this.state;
    this.state = found.state;
    const running = found.state === "running";
    element("refit-begin").disabled = running || !this.can;
    element("refit-stop").hidden = !running;
    element("refit-undo").disabled = running;
    const words = {
      idle: "",
      running: `Running: ${found.now}, ${Math.round(found.seconds)} s so far`,
      done: `Done in ${Math.round(found.seconds)} s.`,
      failed: `Not done: ${found.error}`,
      stopped: "Stopped. The detector is the former one if it was being fitted.",
    };
    element("refit-told").textContent = words[found.state];
    element("refit-told").className = found.state === "failed" ? "error" : "";
    element("refit-lines").hidden = !found.lines.length;
    element("refit-lines").textContent = found.lines.join("\n");
    element("refit-lines").scrollTop = element("refit-lines").scrollHeight;
    this.compare(found.compared);
    if (running) this.timer = setTimeout(() => this.open(), 1000);
    else if (before === "running") await this.changed();
  }

  compare(found) {
    const place = element("compared");
    place.replaceChildren();
    if (!found) return;
    const rows = ROWS.map(([key, words, form, better]) => {
      const [old, now] = [found.before[key], found.now[key]];
      const rise = old === null || now === null ? 0 : Math.sign(now - old) * better;
      const told = rise > 0 ? " better" : rise < 0 ? " worse" : "";
      return make("tr", {}, make("th", { scope: "row" }, words), make("td", { class: "number" }, form(old)), make("td", { class: `number${told}` }, `${form(now)}${told}`));
    });
    const head = ["", "Before", "After"].map((text, i) => make("th", { class: i ? "number" : "", scope: "col" }, text));
    place.append(make("h3", {}, "Before and after"), make("table", {}, make("tr", {}, ...head), ...rows));
    for (const [key, words] of [["test", "Test images"], ["scored", "Newly scored images"]]) {
      const part = found[key];
      if (!part) continue;
      const only = part.only_one ? `; ${part.only_one} are in one of the two tables only` : "";
      place.append(make("h3", {}, `${words} that change sides: ${part.count} of ${part.of}${only}`));
      if (!part.images.length) continue;
      const lines = part.images.map((image) => {
        const right = image.truth ? (image.truth === image.becomes ? " better" : " worse") : "";
        return make("tr", {}, make("td", {}, image.path), make("td", {}, image.truth), cell(image.before), cell(image.now), make("td", { class: right.trim() }, `${image.becomes}${right}`));
      });
      const titles = ["Image", key === "test" ? "Label in the data" : "", "Score before", "Score after", "Becomes"];
      place.append(make("table", {}, make("tr", {}, ...titles.map((text) => make("th", { scope: "col" }, text))), ...lines));
      if (part.count > part.images.length) place.append(make("p", { class: "quiet" }, `and ${part.count - part.images.length} more`));
    }
  }

  async send(path, method) {
    try {
      await ask(path, { method });
    } catch (error) {
      toast(error.message, true);
    }
    await this.open();
  }

  async undo() {
    try {
      await ask("/api/refit/undo", { method: "POST" });
      toast("The former detector is back. Your labels stay.");
      await this.changed();
      await this.open();
    } catch (error) {
      toast(error.message, true);
    }
  }
}

const cell = (value) => make("td", { class: "number" }, number(value, 5));
