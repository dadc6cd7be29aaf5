// What the tables say of one model: its row, its partners, its classes, and the searches that took it.
const NEAREST = 3;
const CLASSES = 12;

async function aboutModel(name) {
  const models = await load("models");
  const [row] = rowsWhere(models, "model", name);
  const parts = [listing("about-model", models.columns.filter((one) => one.name !== "model" && !one.absent(row)).map((one) => [one.name.replaceAll("_", " "), shown(one, row), one.meaning]))];
  const partners = await partnersOf(name);
  if (partners) parts.push(...partners);
  for (const told of [await groupsOf(name), await classesOf(name), await searchesOf(name), await helpFor(name)]) if (told) parts.push(told);
  return parts;
}

async function partnersOf(name) {
  const pairs = await load("pairs");
  if (!pairs) return null;
  const [a, b] = [pairs.column("model_a"), pairs.column("model_b")];
  const rows = [...rowsWhere(pairs, "model_a", name), ...rowsWhere(pairs, "model_b", name)];
  if (!rows.length) return [element("p", {}, "No pair of this page holds it.")];
  const others = rows.map((row) => (a.value(row) === name ? b.value(row) : a.value(row)));
  const taken = (held, column, place = 0) => (held && held.column(column)
    ? [column, rows.map((_, at) => { const found = pairRows(held, name, others[at]); return found.length > place ? held.column(column).value(found[place]) : null; }), held.column(column).meaning] : null);
  const own = (column) => (pairs.column(column) ? [column, rows.map((row) => pairs.column(column).value(row)), pairs.column(column).meaning] : null);
  const columns = [own("error_inconsistency"), own("kappa"), taken(await load("divergence"), "kappa_by_difficulty"), taken(await load("divergence"), "capa"),
    taken(await combinerRows(), "gain_best"), taken(await load("feature_pairs"), "cka")].filter(Boolean);
  const held = table({
    name: `partners of ${name}`, title: `Partners of ${name}`, rows: rows.length, sort: "kappa", of: name,
    columns: [columnOf("partner", "text", others), columnOf("category", "text", rows.map((row) => pairs.column("category").value(row))),
      ...columns.map(([column, values, meaning]) => columnOf(column, "number", values, meaning))],
  });
  held.first = held.columns.map((column) => column.name);
  const kappa = held.column("kappa");
  const order = sorted(Array.from({ length: held.rows }, (_, row) => row), kappa, true).filter((row) => !kappa.absent(row));
  const list = (chosen) => chosen.flatMap((row, at) => [at ? ", " : "", element("a", { href: pairAddress(name, others[row]) }, others[row]), ` (κ ${kappa.value(row).toFixed(2).replace("-", "−")})`]);
  const section = block("Partners", ...(order.length ? [
    element("p", {}, "Errs most like ", ...list(order.slice(0, NEAREST)), "."),
    element("p", {}, "Errs least like ", ...list(order.slice(-NEAREST).reverse()), "."),
  ] : []));
  section.classList.add("grid");
  build(section, held);
  return [section];
}

// The rows of pair ensembles under the page's first combiner alone.
let combined = null;
async function combinerRows() {
  if (combined) return combined;
  const held = await load("pair_ensembles");
  if (!held) return null;
  const column = held.column("combiner");
  const chosen = column.words.includes("mean_probability") ? "mean_probability" : column.words[0];
  const rows = rowsWhere(held, "combiner", chosen);
  const only = ["model_a", "model_b", "gain_best"].map((name) => {
    const one = held.column(name);
    const codes = one.codes.constructor.from(rows, (row) => one.codes[row]);
    return { ...one, codes, absent: (row) => one.absent(rows[row]), value: (row) => one.value(rows[row]) };
  });
  combined = table({ name: "combined", rows: rows.length, columns: only });
  return combined;
}

async function groupsOf(name) {
  const held = await load("group_scores");
  const rows = held ? sorted(rowsWhere(held, "model", name), held.column("difference"), true) : [];
  if (!rows.length) return null;
  const of = (column, row) => shown(held.column(column), row);
  return block("Groups of classes", element("p", { class: "about" }, "Accuracy against what the model and the group alone would give; q is corrected for the number of comparisons."),
    plain(["group", "accuracy", "difference", "95%", "q"], rows.map((row) => [of("group", row), of("accuracy", row), of("difference", row), range(held.column("low"), held.column("high"), row), of("q_value", row)])));
}

async function classesOf(name) {
  const held = await load("class_scores");
  const rows = held ? rowsWhere(held, "model", name) : [];
  if (!held) return null;
  const [score, best, q] = [held.column("score"), held.column("best_of_zoo"), held.column("q_value")];
  const by = (way) => (x, y) => way * (score.value(y) - score.value(x));
  const say = (chosen) => (chosen.length ? chosen.slice(0, CLASSES).map((row) => `${held.column("name").value(row) ?? ""} (${decimal(score.value(row)).replace(/\.(\d)\d+$/, ".$1")}${q.value(row) < 0.05 ? "*" : ""})`).join(", ") + (chosen.length > CLASSES ? `, and ${chosen.length - CLASSES} more` : "") : "none");
  const known = rows.filter((row) => !score.absent(row));
  const significant = known.filter((row) => q.value(row) !== null && q.value(row) < 0.05);
  return block("Classes", facts([
    ["best of the zoo at", say(known.filter((row) => best.value(row)).sort(by(1)))],
    ["better than expected", say(significant.filter((row) => score.value(row) > 0).sort(by(1)))],
    ["worse than expected", say(significant.filter((row) => score.value(row) < 0).sort(by(-1)))],
  ]), element("p", { class: "about" }, "In brackets the score in standard errors; * marks q < 0.05 over all models and classes."));
}

async function searchesOf(name) {
  const held = await load("ensembles");
  const found = held ? [...new Set(rowsWhere(held, "model", name).map((row) => held.column("search").value(row)))] : [];
  return found.length ? block("Searches that took it", element("p", {}, found.join(", "))) : null;
}

async function helpFor(name) {
  const held = await load("weak_helps");
  const [row] = held ? rowsWhere(held, "strong", name) : [];
  if (row === undefined || held.column("share").absent(row)) return null;
  const of = (column) => shown(held.column(column), row);
  return block("Weaker partners", element("p", {}, `${of("helped")} of ${of("weak_models")} weaker models make a more accurate ensemble with it; the mean gain over it is ${of("mean_gain")}.`));
}
