// Elements, numbers and words for all panes. Texts become nodes of the document by textContent
// alone, so that nothing in a program's names can become markup.

const SVG = "http://www.w3.org/2000/svg";

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

// el("td", {class: "number"}, "12"): an element of HTML with its attributes and children.
const el = (name, attributes, ...children) => made(document.createElement(name), attributes, children);
const svg = (name, attributes, ...children) =>
  made(document.createElementNS(SVG, name), attributes, children);

const $ = (id) => document.getElementById(id);

function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

// -- numbers ------------------------------------------------------------------------------------

const number = (x, digits = 0) =>
  x.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });

function scaled(x, units, base = 1000) {
  let k = 0;
  while (Math.abs(x) >= base && k < units.length - 1) { x /= base; k += 1; }
  return `${number(x, k === 0 || x >= 100 ? 0 : x >= 10 ? 1 : 2)} ${units[k]}`;
}

const bytesText = (x) => scaled(x, ["B", "KB", "MB", "GB", "TB"]);
const flopsText = (x) => scaled(x, ["FLOP", "KFLOP", "MFLOP", "GFLOP", "TFLOP"]);
const timeText = (us) =>
  us >= 1e6 ? `${number(us / 1e6, 2)} s` : us >= 1e4 ? `${number(us / 1e3, 1)} ms`
    : us >= 1e3 ? `${number(us / 1e3, 2)} ms` : `${number(us, us < 10 ? 2 : us < 100 ? 1 : 0)} µs`;
const percent = (x) => (x > 0 && x < 0.0005 ? "< 0.1 %" : `${number(100 * x, x < 0.0995 ? 1 : 0)} %`);
const counted = (n, one) => `${number(n)} ${one}${n === 1 ? "" : "s"}`;
const cut = (text, length) => (text.length > length ? `${text.slice(0, Math.max(length - 1, 1))}…` : text);

// Characters that change the direction of what follows are shown, not obeyed: a line of code reads
// as the compiler reads it.
const plain = (text) => text.replace(/[\u202a-\u202e\u2066-\u2069\u200e\u200f]/g,
  (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase()}⟩`);

const sum = (values) => values.reduce((s, x) => s + x, 0);
const unique = (values) => [...new Set(values)];

function pushed(map, key, value) {
  if (!map.has(key)) map.set(key, []);
  map.get(key).push(value);
}

// -- colours ------------------------------------------------------------------------------------

// From Okabe and Ito's palette, which people with any form of colour blindness tell apart.
const PARTS = { forward: "var(--forward)", backward: "var(--backward)", update: "var(--update)", prepare: "var(--prepare)" };
const SIGNS = { forward: "", backward: "∂", update: "↻", prepare: "◷" };

// A share from 0 to 1 as one colour that becomes darker, or brighter in the dark.
const heat = (share) =>
  `color-mix(in oklab, var(--hot) ${Math.round(100 * Math.min(1, Math.sqrt(Math.max(share, 0))))}%, var(--cold))`;
const hue = (k) => `oklch(var(--tint-l) 0.085 ${(k * 137.508) % 360})`;
