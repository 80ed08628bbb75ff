// Puts the parts together: tabs, keys, and the state of the run.

import { ask, element, make, tail, toast } from "/page/ask.js";
import { Refit } from "/page/refit.js";
import { Sort } from "/page/sort.js";
import { Threshold } from "/page/threshold.js";

const TABS = ["sort", "threshold", "refit"];
const FOLLOWED = 15000; // milliseconds
let telling;

async function tell(state) {
  element("run").textContent = tail(state.run, 2);
  element("run").title = state.run;
  element("notes").hidden = !state.notes.length;
  element("notes").replaceChildren(...state.notes.map((line) => make("p", {}, line)));
  threshold.told(state);
  refit.told(state);
  await sort.told(state);
}

async function refresh() {
  try {
    await tell(await ask("/api/state"));
  } catch (error) {
    toast(error.message, true);
  }
}

// Labels come fast: counts are asked for when there is time.
function later() {
  clearTimeout(telling);
  telling = setTimeout(refresh, 1500);
}

// Another program may score on: how many images there are is asked for while the page is looked at.
async function follow() {
  if (document.hidden || element("sort").hidden) return;
  const state = await ask("/api/state").catch(() => null);
  if (state) sort.tellLists(state.lists);
}

const sort = new Sort(later);
const threshold = new Threshold(tell);
const refit = new Refit(refresh);

function open(name) {
  for (const other of TABS) {
    const tab = element(`tab-${other}`);
    tab.setAttribute("aria-selected", String(other === name));
    tab.tabIndex = other === name ? 0 : -1;
    element(other).hidden = other !== name;
  }
  history.replaceState(null, "", `#${name}`);
  if (name === "threshold") threshold.open();
  if (name === "refit") refresh().then(() => refit.open());
}

for (const name of TABS) {
  element(`tab-${name}`).addEventListener("click", () => open(name));
  element(`tab-${name}`).addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const other = TABS[(TABS.indexOf(name) + by + TABS.length) % TABS.length];
    open(other);
    element(`tab-${other}`).focus();
    event.preventDefault();
    event.stopPropagation();
  });
}

element("help-open").addEventListener("click", () => element("help").showModal());

document.addEventListener("keydown", (event) => {
  if (element("help").open || element("whole").open || event.altKey || event.metaKey) return;
  const target = event.target;
  if (target.matches("input, select, textarea")) {
    if (event.key === "Escape") element("strip").focus();
    const slides = target.type === "range" && /^[a-z?]$/.test(event.key); // a slider takes no letters
    if (!slides) return;
  }
  if (event.key === "?") {
    element("help").showModal();
    event.preventDefault();
    return;
  }
  if (!element("sort").hidden && sort.key(event)) event.preventDefault();
});

setInterval(follow, FOLLOWED);

const who = element("who");
ask("/api/state")
  .then(async (state) => {
    who.value = localStorage.getItem("who") ?? state.who;
    who.addEventListener("change", () => localStorage.setItem("who", who.value.trim()));
    await tell(state);
    const wanted = location.hash.slice(1);
    open(TABS.includes(wanted) ? wanted : "sort");
    if (!element("sort").hidden) element("strip").focus();
  })
  .catch((error) => toast(error.message, true));
