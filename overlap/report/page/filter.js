// A filter is words and comparisons: `vit kappa<0.5 category=dataset`. Every part must hold.
const isText = (column) => column.kind === "text";

function conditions(held, text) {
  return text.trim().split(/\s+/).filter(Boolean).map((part) => {
    const compared = part.match(/^(\w+)(<=|>=|<|>|=)(.+)$/);
    if (!compared) return containing(held, part.toLowerCase());
    const [, name, operator, wanted] = compared;
    const column = held.column(name);
    if (!column) throw new Error(`no column ${name}`);
    if (isText(column)) {
      if (operator !== "=") throw new Error(`${name} is text: use =`);
      const code = column.words.findIndex((word) => word.toLowerCase() === wanted.toLowerCase()) + 1;
      return (row) => code > 0 && column.codes[row] === code;
    }
    const bound = column.kind === "flag" ? Number(/^(yes|true|1)$/i.test(wanted)) : Number(wanted);
    if (Number.isNaN(bound)) throw new Error(`${wanted} is no number`);
    const holds = {
      "<": (one) => one < bound, "<=": (one) => one <= bound, ">": (one) => one > bound,
      ">=": (one) => one >= bound, "=": (one) => Number(one) === bound,
    }[operator];
    return (row) => !column.absent(row) && holds(column.value(row));
  });
}

function containing(held, word) {
  const hits = held.columns.filter(isText).map((column) => [
    column.codes, Uint8Array.from(["", ...column.words], (one, place) => place > 0 && one.toLowerCase().includes(word)),
  ]);
  return (row) => hits.some(([codes, hit]) => hit[codes[row]]);
}

function sorted(rows, column, descending) {
  const codes = column.codes; // codes are in the order of what they stand for, so they sort as it does
  const known = rows.filter((row) => !column.absent(row));
  const order = descending ? (a, b) => codes[b] - codes[a] || a - b : (a, b) => codes[a] - codes[b] || a - b;
  return [...known.sort(order), ...rows.filter(column.absent)];
}

function example(held) {
  if (held.column("gain_low") && held.column("combiner")) return "Filter: vit  gain_low>0";
  if (held.column("kappa_max")) return "Filter: vit  kappa<0.5  category=dataset";
  if (held.column("ece")) return "Filter: vit  accuracy>0.7";
  if (held.column("q_value")) return "Filter: vit  q_value<0.05";
  return "Filter";
}
