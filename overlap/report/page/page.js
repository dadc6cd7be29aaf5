"use strict";
// Unpacks the tables, then sorts, filters and pages them. Rows are only ever drawn a page at a time, and texts are
// compared by their codes, so that 45,000 pairs answer within a blink.
(async () => {
  const PAGE = 20;
  const COLOURS = new Set(["reinit", "hyper_parameters", "architecture", "framework", "dataset", "shared_lineage", "duplicate"]);

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  };

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  const isText = (column) => column.kind === "text";
  const value = (column, row) => {
    const held = column.values[row];
    return isText(column) ? (held < 0 ? null : column.words[held]) : held;
  };

  function shown(column, row) {
    const held = value(column, row);
    if (held === null) return "–";
    if (column.kind === "integer") return held.toLocaleString("en");
    if (column.kind === "number") {
      const sign = column.name.startsWith("gain") && held > 0 ? "+" : "";
      return sign + held.toFixed(4).replace("-", "−");
    }
    return held;
  }

  // A filter is words and comparisons: `vit kappa<0.5 category=dataset`. Every part must hold.
  function conditions(table, text) {
    return text.trim().split(/\s+/).filter(Boolean).map((part) => {
      const compared = part.match(/^(\w+)(<=|>=|<|>|=)(.+)$/);
      if (!compared) return containing(table, part.toLowerCase());
      const [, name, operator, wanted] = compared;
      const column = table.columns.find((one) => one.name === name);
      if (!column) throw new Error(`no column ${name}`);
      if (isText(column)) {
        if (operator !== "=") throw new Error(`${name} is text: use =`);
        const code = column.words.findIndex((word) => word.toLowerCase() === wanted.toLowerCase());
        return (row) => code >= 0 && column.values[row] === code;
      }
      const bound = Number(wanted);
      if (Number.isNaN(bound)) throw new Error(`${wanted} is no number`);
      const values = column.values;
      const holds = {
        "<": (held) => held < bound, "<=": (held) => held <= bound, ">": (held) => held > bound,
        ">=": (held) => held >= bound, "=": (held) => held === bound,
      }[operator];
      return (row) => values[row] !== null && holds(values[row]);
    });
  }

  function containing(table, word) {
    const hits = table.columns.filter(isText).map((column) => [
      column.values, Uint8Array.from(column.words, (one) => one.toLowerCase().includes(word)),
    ]);
    return (row) => hits.some(([values, hit]) => values[row] >= 0 && hit[values[row]]);
  }

  function sorted(rows, column, descending) {
    const values = column.values; // codes of texts are in alphabetical order, so codes sort as their texts do
    const absent = (row) => values[row] === null || (isText(column) && values[row] < 0);
    const known = rows.filter((row) => !absent(row));
    const order = descending ? (a, b) => values[b] - values[a] || a - b : (a, b) => values[a] - values[b] || a - b;
    return [...known.sort(order), ...rows.filter(absent)];
  }

  function build(section, table) {
    const everything = Array.from({ length: table.rows }, (_, row) => row);
    const named = new Map(table.columns.map((column) => [column.name, column]));
    const state = { all: false, page: 0, sort: table.sort.replace("-", ""), descending: table.sort.startsWith("-"), rows: everything };
    const input = element("input", { type: "search", placeholder: example(table), "aria-label": `Filter ${table.title}`, oninput: () => refresh(), spellcheck: "false" });
    const count = element("output");
    const toggle = element("button", { type: "button", onclick: () => { state.all = !state.all; draw(); } });
    const save = element("button", { type: "button", onclick: () => download() }, "Save as CSV");
    const head = element("tr");
    const body = element("tbody");
    const place = element("span");
    const back = element("button", { type: "button", onclick: () => turn(-1) }, "Previous");
    const on = element("button", { type: "button", onclick: () => turn(1) }, "Next");
    const pager = element("div", { class: "pager" }, back, on, place);
    const tools = element("div", { class: "tools" });
    if (table.rows > 8) tools.append(input);
    if (table.columns.length > table.first.length) tools.append(toggle);
    if (table.rows > 8) tools.append(save, count);
    section.append(tools, element("div", { class: "scroll", tabindex: "0" }, element("table", {}, element("thead", {}, head), body)), pager);
    if (table.whole > table.rows)
      section.append(element("p", { class: "about" }, `This page holds ${table.rows.toLocaleString("en")} of ${table.whole.toLocaleString("en")} rows, from both ends of the order; the parquet table holds all.`));

    const columns = () => (state.all ? table.columns : table.first.map((name) => named.get(name)));

    function refresh() {
      let rows = everything;
      try {
        const all = conditions(table, input.value);
        input.removeAttribute("aria-invalid");
        if (all.length) rows = rows.filter((row) => all.every((holds) => holds(row)));
        count.textContent = all.length ? `${rows.length.toLocaleString("en")} of ${table.rows.toLocaleString("en")} rows` : `${table.rows.toLocaleString("en")} rows`;
      } catch (error) {
        input.setAttribute("aria-invalid", "true");
        count.textContent = error.message;
        return;
      }
      const column = named.get(state.sort);
      state.rows = column ? sorted(rows, column, state.descending) : rows;
      state.page = 0;
      draw();
    }

    function turn(by) { state.page += by; draw(); }

    function by(column) {
      // Numbers are first wanted from the top, texts from the start of the alphabet.
      state.descending = state.sort === column.name ? !state.descending : !isText(column);
      state.sort = column.name;
      refresh();
    }

    function cell(column, row) {
      const text = shown(column, row);
      const made = element("td", { class: text === "–" ? "empty" + (isText(column) ? "" : " number") : isText(column) ? false : "number" });
      if (column.name === "category") made.classList.add("kind");
      if (column.name === "category" && COLOURS.has(text))
        made.append(element("span", { class: "dot", style: `background:var(--${text.replaceAll("_", "-")})` }));
      made.append(text);
      return made;
    }

    function draw() {
      const pages = Math.max(1, Math.ceil(state.rows.length / PAGE));
      state.page = Math.min(Math.max(state.page, 0), pages - 1);
      const first = state.page * PAGE;
      const rows = state.rows.slice(first, first + PAGE);
      head.replaceChildren(...columns().map((column) => element("th", {
        scope: "col", title: column.meaning, class: isText(column) ? false : "number",
        "aria-sort": column.name === state.sort ? (state.descending ? "descending" : "ascending") : false,
      }, element("button", { type: "button", "data-column": column.name, onclick: () => { by(column); head.querySelector(`[data-column="${column.name}"]`).focus(); } }, column.name.replaceAll("_", " ")))));
      if (rows.length === 0) body.replaceChildren(element("tr", {}, element("td", { class: "empty", colspan: columns().length }, "No row passes the filter.")));
      else body.replaceChildren(...rows.map((row) => element("tr", {}, ...columns().map((column) => cell(column, row)))));
      toggle.textContent = state.all ? "Fewer columns" : `All ${table.columns.length} columns`;
      pager.hidden = pages === 1;
      pager.style.display = pages === 1 ? "none" : "";
      back.disabled = state.page === 0;
      on.disabled = state.page === pages - 1;
      place.textContent = rows.length === 0 ? "" : `${(first + 1).toLocaleString("en")}–${(first + rows.length).toLocaleString("en")} of ${state.rows.length.toLocaleString("en")}`;
    }

    function download() {
      const quoted = (held) => (held === null ? "" : /[",\n]/.test(held) ? `"${String(held).replaceAll('"', '""')}"` : String(held));
      const lines = [table.columns.map((column) => column.name), ...state.rows.map((row) => table.columns.map((column) => quoted(value(column, row))))];
      const address = URL.createObjectURL(new Blob([lines.map((line) => line.join(",")).join("\n") + "\n"], { type: "text/csv" }));
      element("a", { href: address, download: `${section.dataset.table}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 1000);
    }

    refresh();
  }

  function example(table) {
    const names = new Set(table.columns.map((column) => column.name));
    if (names.has("gain_best")) return "Filter: vit  gain_low>0";
    if (names.has("kappa_max")) return "Filter: vit  kappa<0.5  category=dataset";
    if (names.has("ece")) return "Filter: vit  accuracy>0.7";
    return "Filter";
  }

  // The heat map says which pair the pointer is on.
  function explain(heat, pairs) {
    const drawing = document.querySelector("#figure-kappa svg");
    const tip = document.getElementById("tip");
    if (!drawing || !heat || !pairs) return;
    const column = (name) => pairs.columns.find((one) => one.name === name);
    const [a, b, kappa, low, high, kind] = ["model_a", "model_b", "kappa", "kappa_low", "kappa_high", "category"].map(column);
    const key = (one, other) => (one < other ? `${one}\n${other}` : `${other}\n${one}`);
    const rows = new Map();
    for (let row = 0; row < pairs.rows; row++) rows.set(key(value(a, row), value(b, row)), row);
    const [left, top, width, height] = heat.box;
    const say = (event) => {
      const frame = drawing.getBoundingClientRect();
      const x = Math.floor((((event.clientX - frame.left) / frame.width - left) / width) * heat.order.length);
      const y = Math.floor((((event.clientY - frame.top) / frame.height - top) / height) * heat.order.length);
      const [one, other] = [heat.order[y], heat.order[x]];
      tip.hidden = !one || !other || x === y;
      if (tip.hidden) return;
      const row = rows.get(key(one, other));
      const figures = row === undefined || value(kappa, row) === null ? "κ undefined, or not on this page"
        : `κ ${shown(kappa, row)}` + (low && value(low, row) !== null ? ` (${shown(low, row)} to ${shown(high, row)})` : "");
      tip.replaceChildren(element("b", {}, one), " and ", element("b", {}, other), element("br"), figures + (row !== undefined && kind && value(kind, row) ? ` · ${value(kind, row).replaceAll("_", " ")}` : ""));
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${event.clientY + 18 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : event.clientY + 18}px`;
    };
    drawing.addEventListener("pointermove", say);
    drawing.addEventListener("pointerdown", say);
    drawing.addEventListener("pointerleave", () => { tip.hidden = true; });
  }

  if (!("DecompressionStream" in window)) {
    document.querySelectorAll(".grid").forEach((section) => section.append(element("p", { class: "notice" }, "This browser cannot unpack the tables (it lacks DecompressionStream); any from 2023 on can.")));
    return;
  }
  const tables = await unpack(document.getElementById("data").textContent);
  for (const section of document.querySelectorAll(".grid")) build(section, tables[section.dataset.table]);
  explain(JSON.parse(document.getElementById("heat").textContent)[0], tables.pairs);
  document.documentElement.dataset.ready = "yes";
})();
