// The page's data made readable, numbers as people read them, elements without markup, and what sections share.
"use strict";

const RAW = JSON.parse(document.getElementById("data").textContent);

// Data ---------------------------------------------------------------------------------------------------------------

/** A number of the data: large ones come as text, which only `exact` shows without rounding. */
const num = (n) => (typeof n === "string" ? Number(n) : n);

const text = (i) => RAW.texts[i];
const specText = (i) => RAW.specs[i][0];

/** A cost as an object: macs, flops, bytes_read … as numbers, and `raw` as they came. */
const costAt = (() => {
  const made = new Map();
  return (i) => {
    if (!made.has(i)) {
      const raw = Object.fromEntries(RAW.costFields.map((name, k) => [name, RAW.costs[i][k]]));
      const cost = Object.fromEntries(Object.entries(raw).map(([name, n]) => [name, num(n)]));
      cost.bytes = cost.bytes_read + cost.bytes_written;
      cost.raw = raw;
      made.set(i, cost);
    }
    return made.get(i);
  };
})();

function parametersOf(row) {
  const [params = 0, trainable = 0, bytes = 0, buffers = 0, bufferBytes = 0] = row.map(num);
  return { params, trainable, bytes, buffers, bufferBytes };
}

const MODULES = RAW.modules.map((m, id) => ({
  id,
  name: text(m[0]),
  type: text(m[1]),
  parent: m[2],
  calls: m[3],
  outputs: m[4],
  own: costAt(m[5]),
  cost: costAt(m[6]),
  ownParams: parametersOf(m[7]),
  params: parametersOf(m[8]),
  saved: num(m[9]) || 0,
  operators: m[10].map(text),
  aliases: m[11].map(text),
  inputs: m[12],
  kernel: text(m[13]),
  lengths: m[14],
  children: [],
}));
for (const module of MODULES) if (module.parent >= 0) MODULES[module.parent].children.push(module.id);
for (const module of MODULES) module.local = module.name.slice(module.name.lastIndexOf(".") + 1) || RAW.model;

/** A module's children in runs of such as are alike: arrays of numbers, of which those with more than one fold. */
function runsOf(module) {
  if (!module.lengths.length) return module.children.map((id) => [id]);
  let at = 0;
  return module.lengths.map((length) => module.children.slice(at, (at += length)));
}

/** "0–31" for a run of modules, the name itself for one. */
function runName(ids) {
  const [first, last] = [MODULES[ids[0]].local, MODULES[ids[ids.length - 1]].local];
  return ids.length > 1 ? `${first}–${last.match(/\d+$/)[0]}` : first;
}

const NODES = RAW.nodes.map((n, id) => ({
  id,
  name: text(n[0]),
  kind: text(n[1]),
  calls: text(n[2]),
  module: n[3],
  inputs: n[4],
  outputs: n[5],
  run: n[6],
  cost: costAt(n[7]),
  reads: n[8],
  saved: num(n[9]) || 0,
  target: text(n[10]),
}));

const OPERATORS = RAW.operators.map((o, id) => ({
  id,
  name: text(o[0]),
  family: text(o[1]),
  count: o[2],
  cost: costAt(o[3]),
}));

const TOTAL = costAt(RAW.total);

/** What sizes and colours can stand for. `of(thing)` reads a module or a node with everything below it. */
const METRICS = [
  { key: "macs", label: "MACs", unit: "count", of: (t) => t.cost.macs },
  { key: "flops", label: "FLOPs", unit: "count", of: (t) => t.cost.flops },
  { key: "params", label: "Parameters", unit: "count", of: (t) => (t.params ? t.params.params : 0) },
  { key: "bytes", label: "Bytes", unit: "bytes", of: (t) => t.cost.bytes },
  { key: "activations", label: "Activations", unit: "count", of: (t) => t.cost.activations },
  ...(RAW.hasSaved ? [{ key: "saved", label: "Saved bytes", unit: "bytes", of: (t) => t.saved }] : []),
];
const metricOf = (key) => METRICS.find((metric) => metric.key === key);

// Numbers ------------------------------------------------------------------------------------------------------------

const SI = ["", "K", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q"];
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

function scaled(n, base, names) {
  let power = 0;
  let value = Math.abs(n);
  while (value >= base && power + 1 < names.length) [value, power] = [value / base, power + 1];
  if (power && power + 1 < names.length && Number(value.toFixed(2)) >= base) [value, power] = [value / base, power + 1];
  const digits = power ? value.toFixed(2) : String(value);
  return `${n < 0 ? "−" : ""}${digits} ${names[power]}`.trim();
}

const shortCount = (n) => scaled(n, 1000, SI);
const shortBytes = (n) => scaled(n, 1024, BINARY);
const short = (n, unit) => (unit === "bytes" ? shortBytes(n) : shortCount(n));
const exact = (n) => (typeof n === "string" ? BigInt(n) : n).toLocaleString("en-US");
const full = (n, unit) => `${exact(n)}${unit === "bytes" ? " bytes" : ""}`;

function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  return part > 0 && share < 0.1 ? "<0.1%" : `${share.toFixed(1)}%`;
}

// Elements -----------------------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("aria-")) element.setAttribute(name, value);
    else if (value === null || value === undefined || value === false) continue;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An element; texts among the children become text, never markup. */
const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const byId = (id) => document.getElementById(id);

/** A row of buttons of which one is pressed. Calls `changed(key)`, and once at the start if `initial` is given. */
function segments(host, options, initial, changed) {
  const buttons = options.map(({ key, label }) =>
    el(
      "button",
      { type: "button", "data-key": key, "aria-pressed": key === initial, onclick: () => choose(key) },
      label,
    ),
  );
  function choose(key) {
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.key === key);
    changed(key);
  }
  host.replaceChildren(...buttons);
  host.hidden = options.length < 2;
  return choose;
}

// Colours ------------------------------------------------------------------------------------------------------------

const STEPS = 9;

/** The step of the colour scale for a share of the largest (0 to 1); -1 for nothing. */
const shade = (share) => (share > 0 ? Math.min(STEPS - 1, Math.floor(STEPS * share)) : -1);

const shadeClass = (step) => (step < 0 ? "shade none" : `shade s${step}`);

// Tooltip ------------------------------------------------------------------------------------------------------------

const tip = {
  box: byId("tip"),
  show(event, title, lines) {
    this.box.replaceChildren(el("strong", {}, title), ...lines.map((line) => el("div", {}, line)));
    this.box.hidden = false;
    this.move(event);
  },
  move(event) {
    const { offsetWidth: width, offsetHeight: height } = this.box;
    const x = event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
    const y = event.clientY + 16 + height > innerHeight ? event.clientY - 12 - height : event.clientY + 16;
    this.box.style.transform = `translate(${Math.max(4, x)}px, ${Math.max(4, y)}px)`;
  },
  hide() {
    this.box.hidden = true;
  },
};

// Theme --------------------------------------------------------------------------------------------------------------

const dark = matchMedia("(prefers-color-scheme: dark)");
byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const now = root.dataset.theme || (dark.matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
});

// Sections -----------------------------------------------------------------------------------------------------------

/** Draws a section when it first comes near the window, so that a large page opens at once. */
function whenNear(section, draw) {
  if (!section) return;
  const now = () => {
    observer.disconnect();
    notDrawn.delete(now);
    draw();
    section.dataset.ready = "";
  };
  const observer = new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting)) now();
    },
    { rootMargin: "400px" },
  );
  notDrawn.add(now);
  observer.observe(section);
}

const notDrawn = new Set();

/** Draws every section that was not near the window yet. */
function drawNow() {
  for (const now of [...notDrawn]) now();
}

/** Calls back when an element's width has changed, once per frame. */
function onResize(element, changed) {
  let width = 0;
  new ResizeObserver(() => {
    if (Math.abs(element.clientWidth - width) < 2) return;
    width = element.clientWidth;
    requestAnimationFrame(changed);
  }).observe(element);
}
