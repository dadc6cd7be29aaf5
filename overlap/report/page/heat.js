// The heat map says which pair the pointer or the arrow keys are on; a click or Enter opens it.
function explain(heat, pairs) {
  const drawing = document.querySelector("#figure-kappa svg");
  const tip = document.getElementById("tip");
  if (!drawing || !heat || !pairs) return;
  const [kappa, low, high, kind] = ["kappa", "kappa_low", "kappa_high", "category"].map(pairs.column);
  const [left, top, width, height] = heat.box;
  const size = heat.order.length;
  const frame = drawing.closest(".drawing");
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const view = drawing.viewBox.baseVal;
  for (const [name, value] of Object.entries({ width: (view.width * width) / size, height: (view.height * height) / size, fill: "none", class: "cursor" })) cursor.setAttribute(name, value);
  let at = null;

  function cellOf(event) {
    const box = drawing.getBoundingClientRect();
    const x = Math.floor((((event.clientX - box.left) / box.width - left) / width) * size);
    const y = Math.floor((((event.clientY - box.top) / box.height - top) / height) * size);
    return x >= 0 && y >= 0 && x < size && y < size && x !== y ? [x, y] : null;
  }

  function say(cell, clientX, clientY) {
    tip.hidden = !cell;
    if (!cell) return;
    const [one, other] = [heat.order[cell[1]], heat.order[cell[0]]];
    const [row] = pairRows(pairs, one, other);
    const figures = row === undefined || kappa.absent(row) ? "κ undefined, or not on this page"
      : `κ ${shown(kappa, row)}` + (low && !low.absent(row) ? ` (${shown(low, row)} to ${shown(high, row)})` : "");
    tip.replaceChildren(element("b", {}, one), " and ", element("b", {}, other), element("br"), figures + (row !== undefined && kind && !kind.absent(row) ? ` · ${kind.value(row).replaceAll("_", " ")}` : ""));
    tip.style.left = `${Math.max(8, Math.min(clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${clientY + 18 + tip.offsetHeight > innerHeight ? clientY - tip.offsetHeight - 12 : clientY + 18}px`;
  }

  const open = (cell) => { if (cell) location.hash = pairAddress(heat.order[cell[1]], heat.order[cell[0]]); };
  const follow = (event) => say(cellOf(event), event.clientX, event.clientY);
  drawing.addEventListener("pointermove", follow);
  drawing.addEventListener("pointerdown", follow);
  drawing.addEventListener("pointerleave", () => { tip.hidden = true; });
  drawing.addEventListener("click", (event) => { tip.hidden = true; open(cellOf(event)); });
  frame.addEventListener("blur", () => { at = null; tip.hidden = true; cursor.remove(); });
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Enter" && at) open(at);
    if (!step) return;
    event.preventDefault();
    let next = at ? [at[0] + step[0], at[1] + step[1]] : [Math.min(1, size - 1), 0];
    if (next[0] === next[1]) next = [next[0] + step[0], next[1] + step[1]];
    if (next.some((one) => one < 0 || one >= size)) return;
    at = next;
    cursor.setAttribute("x", view.x + view.width * (left + (width * at[0]) / size));
    cursor.setAttribute("y", view.y + view.height * (top + (height * at[1]) / size));
    drawing.append(cursor);
    const box = cursor.getBoundingClientRect();
    say(at, box.right, box.bottom);
  });
}
