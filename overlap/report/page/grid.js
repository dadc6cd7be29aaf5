// A table that sorts, filters and turns pages. Rows are only ever drawn a page at a time.
const PAGE = 20;
const OF_MODELS = new Set(["model", "model_a", "model_b", "strong", "base", "other", "partner", "anchor"]);

function build(section, held) {
  const everything = Array.from({ length: held.rows }, (_, row) => row);
  const state = { all: false, page: 0, sort: held.sort.replace("-", ""), descending: held.sort.startsWith("-"), rows: everything };
  const input = element("input", { type: "search", placeholder: example(held), "aria-label": `Filter ${held.title}`, oninput: () => refresh(), spellcheck: "false" });
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
  // Rows about a pair begin with a link to it; rows about the partners of one model too.
  const paired = held.of ? [null, "partner"] : held.column("model_a") && held.column("model_b") ? ["model_a", "model_b"]
    : held.column("base") && held.column("other") ? ["base", "other"] : null;
  const opens = paired !== null;
  if (held.rows > 8) tools.append(input);
  if (held.columns.length > held.first.length) tools.append(toggle);
  if (held.rows > 8) tools.append(save, count);
  const rows = element("table", {}, element("thead", {}, head), body);
  section.append(tools, element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": held.title }, rows), pager);
  const less = [];
  if (held.whole > held.rows) less.push(`${whole(held.rows)} of ${whole(held.whole)} rows${held.kept ? ` (${held.kept})` : ""}`);
  if (held.left_out.length) less.push(`all columns but ${held.left_out.join(", ")}`);
  if (less.length) section.append(element("p", { class: "about" }, `This page holds ${less.join(" and ")}; the parquet table holds all.`));

  const columns = () => (state.all ? held.columns : held.first.map(held.column));

  function refresh() {
    let rows = everything;
    try {
      const all = conditions(held, input.value);
      input.removeAttribute("aria-invalid");
      if (all.length) rows = rows.filter((row) => all.every((holds) => holds(row)));
      count.textContent = all.length ? `${whole(rows.length)} of ${whole(held.rows)} rows` : `${whole(held.rows)} rows`;
    } catch (error) {
      input.setAttribute("aria-invalid", "true");
      count.textContent = error.message;
      return;
    }
    const column = held.column(state.sort);
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
    const made = element("td", { "data-cell": column.name, class: text === "–" ? "empty" + (isText(column) ? "" : " number") : isText(column) ? false : "number" });
    if (column.name === "category" || column.name === "group" || column.name === "combiner") made.classList.add("kind");
    if (column.name === "category" && COLOURS.has(text)) made.append(dot(text));
    made.append(OF_MODELS.has(column.name) && text !== "–" && isModel(text) ? modelLink(text) : text);
    return made;
  }

  function opener(row) {
    const [one, other] = paired.map((name) => (name === null ? held.of : held.column(name).value(row)));
    const made = element("td", { class: "open" });
    if (one !== null && other !== null && one !== other && isModel(one) && isModel(other))
      made.append(element("a", { href: pairAddress(one, other), "aria-label": `The pair ${one} and ${other}` }, "pair"));
    return made;
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(state.rows.length / PAGE));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const first = state.page * PAGE;
    const rows = state.rows.slice(first, first + PAGE);
    const heads = columns().map((column) => element("th", {
      scope: "col", title: column.meaning, class: isText(column) ? false : "number",
      "aria-sort": column.name === state.sort ? (state.descending ? "descending" : "ascending") : false,
    }, element("button", { type: "button", "data-column": column.name, onclick: () => { by(column); head.querySelector(`[data-column="${column.name}"]`).focus(); } }, column.name.replaceAll("_", " "))));
    head.replaceChildren(...(opens ? [element("td", { class: "open" })] : []), ...heads);
    if (rows.length === 0) body.replaceChildren(element("tr", {}, element("td", { class: "empty", colspan: columns().length + (opens ? 1 : 0) }, "No row passes the filter.")));
    else body.replaceChildren(...rows.map((row) => element("tr", {}, ...(opens ? [opener(row)] : []), ...columns().map((column) => cell(column, row)))));
    toggle.textContent = state.all ? "Fewer columns" : `All ${held.columns.length} columns`;
    pager.hidden = pages === 1;
    back.disabled = state.page === 0;
    on.disabled = state.page === pages - 1;
    place.textContent = rows.length === 0 ? "" : `${whole(first + 1)}–${whole(first + rows.length)} of ${whole(state.rows.length)}`;
  }

  function download() {
    const quoted = (one) => (one === null ? "" : /[",\n]/.test(one) ? `"${String(one).replaceAll('"', '""')}"` : String(one));
    const lines = [held.columns.map((column) => column.name), ...state.rows.map((row) => held.columns.map((column) => quoted(column.value(row))))];
    const address = URL.createObjectURL(new Blob([lines.map((line) => line.join(",")).join("\n") + "\n"], { type: "text/csv" }));
    element("a", { href: address, download: `${held.name}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  refresh();
}
