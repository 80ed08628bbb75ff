// Requests to the server, and what is told of them.

import { element } from "/page/basics.js";

export { element, make, number, percent } from "/page/basics.js";

export class Refused extends Error {
  constructor(status, values) {
    super(values.detail ?? `the server answered ${status}`);
    this.status = status;
    this.item = values.item;
  }
}

export async function ask(path, { method = "GET", json, body, type } = {}) {
  const headers = json !== undefined ? { "content-type": "application/json" } : type ? { "content-type": type } : {};
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: json !== undefined ? JSON.stringify(json) : body });
  } catch {
    throw new Refused(0, { detail: "the server does not answer: this was not saved" });
  }
  const values = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, values);
  return values;
}

let hiding;
export function toast(text, error = false) {
  const place = element("toast");
  place.textContent = text;
  place.className = error ? "shown error" : "shown";
  clearTimeout(hiding);
  hiding = setTimeout(() => (place.className = ""), error ? 8000 : 2500);
}

// The end of a path, that tells most of it.
export function tail(path, parts = 3) {
  const all = path.split("/");
  return all.length > parts ? `…/${all.slice(-parts).join("/")}` : path;
}
export const who = () => element("who").value.trim();
