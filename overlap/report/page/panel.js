// A model or a pair by itself, over the page; its address is the page's with #model=NAME or #pair=NAME~NAME.
const panel = document.getElementById("panel");
let names = new Set();
const isModel = (name) => names.has(name);

function route() {
  const [kind, rest = ""] = location.hash.slice(1).split("=", 2);
  if (kind !== "model" && kind !== "pair") return null;
  try { return { kind, names: rest.split("~").map(decodeURIComponent) }; } catch { return { kind, names: [rest] }; }
}

async function follow() {
  const wanted = route();
  if (!wanted) { if (panel.open) panel.close(); return; }
  const body = panel.querySelector(".body");
  const title = panel.querySelector("h2");
  const unknown = wanted.names.filter((name) => !isModel(name));
  let parts;
  if (unknown.length || wanted.names.length !== (wanted.kind === "pair" ? 2 : 1)) {
    title.textContent = "Not in this study";
    parts = [element("p", {}, `No model of these tables is called ${unknown.map((name) => `“${name}”`).join(" or ") || "so"}.`)];
  } else if (wanted.kind === "model") {
    title.textContent = wanted.names[0];
    parts = await aboutModel(wanted.names[0]);
  } else {
    title.replaceChildren(modelLink(wanted.names[0]), " + ", modelLink(wanted.names[1]));
    parts = await aboutPair(...wanted.names);
  }
  body.replaceChildren(...parts);
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
  title.focus();
  panel.dataset.shown = location.hash;
}

const block = (title, ...parts) => element("section", {}, element("h3", {}, title), ...parts);

const facts = (pairs) => listing("", pairs);

function listing(kind, pairs) {
  return element("dl", { class: `meanings ${kind}` }, ...pairs.map(([name, value, meaning]) => element("div", { title: meaning ?? null }, element("dt", {}, name), element("dd", {}, value))));
}

function plain(heads, rows) {
  const number = (text) => typeof text === "string" && /^[+−-]?[\d.,]+(%|e[−-]\d+)?$/.test(text) || text === "–";
  return element("div", { class: "scroll", tabindex: "0" }, element("table", { class: "plain" },
    element("thead", {}, element("tr", {}, ...heads.map((head, at) => element("th", { scope: "col", class: rows.length && rows.every((row) => number(row[at])) ? "number" : false }, head)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((one) => element("td", { class: number(one) ? "number" : / to /.test(one) && one.length < 24 ? "range" : false }, one)))))));
}

const range = (low, high, row) => (low && high && !low.absent(row) && !high.absent(row) ? `${shown(low, row)} to ${shown(high, row)}` : "");

function startPanel() {
  panel.addEventListener("close", () => {
    delete panel.dataset.shown;
    if (route()) history.pushState(null, "", "#"); // the way back leads to the panel again
  });
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
  panel.querySelector(".close").addEventListener("click", () => panel.close());
  addEventListener("hashchange", follow);
  addEventListener("popstate", () => { if (!route() && panel.open) panel.close(); });
  return follow();
}
