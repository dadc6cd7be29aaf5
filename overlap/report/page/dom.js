// Making elements, and values as a reader is shown them.
const COLOURS = new Set(["reinit", "hyper_parameters", "architecture", "framework", "dataset", "shared_lineage", "duplicate"]);

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
};

const whole = (number) => number.toLocaleString("en");

function shown(column, row) {
  const held = column.value(row);
  if (held === null) return "–";
  if (column.kind === "integer") return column.name === "class" || column.name === "label" ? String(held) : whole(held);
  if (column.kind === "flag") return held ? "yes" : "no";
  if (column.kind === "number") return decimal(held, column.name.startsWith("gain") || column.name === "difference");
  return held;
}

function decimal(held, signed = false) {
  const size = Math.abs(held);
  const text = size >= 1e5 ? held.toPrecision(4) : size >= 100 ? held.toFixed(1) : size > 0 && size < 5e-5 ? held.toExponential(0) : held.toFixed(4);
  return (signed && held > 0 ? "+" : "") + text.replace("-", "−");
}

const dot = (category) => (COLOURS.has(category)
  ? element("span", { class: "dot", style: `background:var(--${category.replaceAll("_", "-")})` }) : null);

// Names of models are part of an address: what separates them there must not be in them.
const escaped = (name) => encodeURIComponent(name).replaceAll("~", "%7E");
const modelAddress = (name) => `#model=${escaped(name)}`;
const pairAddress = (one, other) => `#pair=${[one, other].sort((a, b) => (a < b ? -1 : 1)).map(escaped).join("~")}`;
const modelLink = (name) => element("a", { href: modelAddress(name) }, name);
