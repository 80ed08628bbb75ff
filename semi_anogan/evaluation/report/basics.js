// What the parts of a page share. The report has it inlined, so it imports nothing.

export const element = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export const number = (value, digits = 4) => (value === null || value === undefined ? "none" : String(Number(value.toPrecision(digits))));
export const percent = (value) => (value === null || value === undefined ? "none" : `${(100 * value).toFixed(1)} %`);
