// What the tables say of one pair: every measure with its interval, ensembles, specialisation, and driving images.
const SKIPPED = new Set(["model_a", "model_b", "category", "n", "both_right", "only_a", "only_b", "both_wrong", "reason"]);
const GALLERY = 24;
const labels = JSON.parse(document.getElementById("names").textContent);
const pictures = JSON.parse(document.getElementById("thumbnails").textContent);

async function aboutPair(one, other) {
  const pairs = await load("pairs");
  const [row] = pairs ? pairRows(pairs, one, other) : [];
  if (row === undefined) return [element("p", {}, "These tables, or this page, hold no such pair.")];
  const [a, b] = ["model_a", "model_b"].map((name) => pairs.column(name).value(row));
  const category = pairs.column("category").value(row);
  const parts = [element("p", { class: "lede" }, dot(category), category ? `They differ in: ${category.replaceAll("_", " ")}. ` : "No category: an axis of training is missing. ", placed(pairs.column("kappa"), pairs, row))];
  const better = pairs.column("accuracy_a") && pairs.column("accuracy_b") ? Math.max(pairs.column("accuracy_a").value(row), pairs.column("accuracy_b").value(row)) : null;
  parts.push(crossed(pairs, row, a, b), await measures(pairs, row, one, other));
  for (const told of [await ensemblesOf(one, other, better), await specialised(one, other, a, b), await alike(one, other, a, b), await drivers(one, other, a, b)]) if (told) parts.push(told);
  return parts;
}

function placed(kappa, pairs, row) {
  if (kappa.absent(row)) return "κ is undefined.";
  let [below, known] = [0, 0];
  for (let at = 0; at < pairs.rows; at++) if (!kappa.absent(at)) { known += 1; below += kappa.codes[at] < kappa.codes[row]; }
  return known < 2 ? `κ ${shown(kappa, row)}.` : `κ ${shown(kappa, row)}: their errors are more alike than those of ${Math.round((100 * below) / (known - 1))}% of the other pairs.`;
}

function crossed(pairs, row, a, b) {
  const count = (name) => {
    const column = pairs.column(name);
    if (!column || column.absent(row)) return "–";
    return `${shown(column, row)} (${((100 * column.value(row)) / pairs.column("n").value(row)).toFixed(1)}%)`;
  };
  return block("Right and wrong", plain(["", `${b} right`, `${b} wrong`], [[`${a} right`, count("both_right"), count("only_a")], [`${a} wrong`, count("only_b"), count("both_wrong")]]));
}

async function measures(pairs, row, one, other) {
  const found = [[pairs, row]];
  const further = await load("divergence");
  if (further && pairRows(further, one, other).length) found.push([further, pairRows(further, one, other)[0]]);
  const rows = found.flatMap(([held, at]) => held.columns
    .filter((column) => !SKIPPED.has(column.name) && !/_(low|high|min|max)$/.test(column.name) && !column.absent(at))
    .map((column) => [element("span", { title: column.meaning }, column.name.replaceAll("_", " ")), shown(column, at), range(held.column(`${column.name.replace(/_ratio$/, "")}_low`), held.column(`${column.name.replace(/_ratio$/, "")}_high`), at), column.meaning]));
  return block("Every measure", plain(["measure", "value", "95%", "what it is"], rows));
}

async function ensemblesOf(one, other, better) {
  const held = await load("pair_ensembles");
  const rows = held ? pairRows(held, one, other) : [];
  if (!rows.length) return null;
  const gain = held.column("gain_best");
  const columns = ["combiner", "accuracy", "gain_best", "gain_mean", "conversion_rate", "r00", "nll", "ece"].map(held.column).filter(Boolean);
  // A large page leaves the accuracy out; it is the better one's, and the gain.
  if (!held.column("accuracy") && better !== null) columns.splice(1, 0, { name: "accuracy", kind: "number", value: (row) => (gain.absent(row) ? null : better + gain.value(row)) });
  const heads = columns.flatMap((column) => [column.name.replaceAll("_", " "), ...(column === gain ? ["95%"] : [])]);
  return block("Ensembles of the two", plain(heads, rows.map((row) => columns.flatMap((column) => [shown(column, row).replaceAll("_", " "), ...(column === gain ? [range(held.column("gain_low"), held.column("gain_high"), row)] : [])]))));
}

async function specialised(one, other, a, b) {
  const held = await load("specialisation");
  const [row] = held ? pairRows(held, one, other) : [];
  if (row === undefined) return null;
  const has = (name) => held.column(name) && !held.column(name).absent(row);
  const of = (name) => shown(held.column(name), row);
  const angle = (name) => `${held.column(name).value(row).toFixed(1).replace("-", "−")}°`;
  const said = [];
  if (has("theta_separation")) said.push(`Where exactly one is right, relative confidence differs by ${angle("theta_separation")} between the images only the first and only the second gets right.`);
  if (has("class_spread")) said.push(`Over classes it varies by ${angle("class_spread")} beyond noise${has("class_spread_p") ? ` (p ${of("class_spread_p")})` : ""}.`);
  if (has("group_spread")) said.push(`Over groups of classes it varies by ${angle("group_spread")}${has("group_spread_p") ? ` (p ${of("group_spread_p")})` : ""}.`);
  if (has("favours_a")) said.push(`${a} is relatively most confident on ${of("favours_a")}${has("favours_b") ? `, ${b} on ${of("favours_b")}` : ""}.`);
  return said.length ? block("Specialisation", element("p", {}, said.join(" "))) : null;
}

async function alike(one, other, a, b) {
  const held = await load("feature_pairs");
  const [row] = held ? pairRows(held, one, other) : [];
  if (row === undefined) return null;
  return block("Features", facts([["linear CKA", shown(held.column("cka"), row)], [`R² of ${a} from ${b}`, shown(held.column("r2_a_from_b"), row)], [`R² of ${b} from ${a}`, shown(held.column("r2_b_from_a"), row)]]));
}

const labelled = (number) => (number === null ? "–" : labels[number] ?? `class ${number}`);

const pictureOf = (key, words) => (pictures[key] ? element("img", { src: `data:image/jpeg;base64,${pictures[key]}`, alt: words }) : element("span", { class: "blank" }, "no picture on this page"));

// The images on which most pairs disagree, for the page itself.
async function divide() {
  const [place, held] = [document.getElementById("gallery"), await load("divisive")];
  if (!place || !held) return;
  const of = (name, row) => held.column(name).value(row);
  const rows = sorted(Array.from({ length: held.rows }, (_, row) => row), held.column("rank"), false).slice(0, GALLERY).filter((row) => pictures[of("key", row)]);
  if (rows.length === 0) { place.remove(); return; }
  place.append(element("ol", { class: "images gallery" }, ...rows.map((row) => element("li", {}, pictureOf(of("key", row), labelled(of("label", row))),
    element("div", {}, element("div", {}, labelled(of("label", row))), element("div", { class: "miss" }, `${whole(of("right", row))} of ${whole(names.size)} right`), element("code", {}, of("key", row)))))));
}

async function drivers(one, other, a, b) {
  const held = await load("driving");
  const rows = held ? pairRows(held, one, other) : [];
  if (!rows.length) return null;
  const of = (name, row) => (held.column(name) ? held.column(name).value(row) : null);
  const sure = (name, row) => (of(name, row) === null ? "" : ` (${Math.round(100 * of(name, row))}%)`);
  return block("Images that drive their inconsistency", element("ol", { class: "images" }, ...rows.map((row) => {
    const key = of("key", row);
    const picture = pictureOf(key, labelled(of("label", row)));
    const said = (name, side) => element("div", { class: of("right", row) === side ? "hit" : "miss" }, element("b", {}, of("right", row) === side ? "✓ " : "✗ "), `${name}: ${labelled(of(`prediction_${side}`, row))}${sure(`confidence_${side}`, row)}`);
    return element("li", {}, picture, element("div", {}, element("code", {}, key), element("div", {}, labelled(of("label", row))), said(a, "a"), said(b, "b")));
  })));
}
