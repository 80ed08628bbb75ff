// The threshold: histograms of scores, a slider, and what follows from it.

import { ask, element, number, percent, toast, who } from "/page/ask.js";
import { Scores } from "/page/scores.js";

export class Threshold {
  constructor(changed) {
    this.changed = changed; // called with the state of the run
    this.scores = new Scores((value) => this.moved(value));
    element("use").addEventListener("click", () => this.choose({ method: "PUT", json: { threshold: this.scores.value, who: who() } }));
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
      this.scores.show((await ask("/api/scores")).groups, this.state.threshold);
    } catch (error) {
      toast(error.message, true);
    }
  }

  moved(value) {
    element("threshold-done").textContent = "";
    clearTimeout(this.asking);
    this.asking = setTimeout(() => this.expect(value), 200);
  }

  async expect(value) {
    const found = await ask(`/api/rate?threshold=${value}`).catch(() => null);
    if (value !== this.scores.value) return;
    element("expected").textContent =
      found?.rate === null || !found ? "" : `Of new normal images about ${percent(found.rate)} would be false alarms, as the ${found.normals} normal scores that the calibration rests on say.`;
  }

  async choose(how) {
    try {
      const state = await ask("/api/threshold", how);
      await this.changed(state);
      this.scores.draw(state.threshold);
      this.scores.set(state.threshold);
      element("threshold-done").textContent =
        `${number(state.threshold, 6)} is in use now by score, evaluate and export. The figures and the report of the run are those of before until: python -m semi_anogan.evaluate --workdir=${state.run}`;
    } catch (error) {
      toast(error.message, true);
    }
  }
}
