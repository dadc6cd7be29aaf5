// Figures that answer one question in several ways share a place; buttons choose among them.
for (const group of document.querySelectorAll(".switch")) {
  const figures = [...group.querySelectorAll("figure")];
  const bar = element("div", { class: "choices", role: "group", "aria-label": "Measures" });
  const choose = (at) => figures.forEach((figure, place) => { figure.hidden = place !== at; bar.children[place].setAttribute("aria-pressed", String(place === at)); });
  bar.append(...figures.map((figure, at) => element("button", { type: "button", onclick: () => choose(at) }, figure.dataset.choice)));
  if (figures.length > 1) { group.prepend(bar); choose(0); }
}

if (!("DecompressionStream" in window)) {
  document.querySelectorAll(".grid").forEach((section) => section.append(element("p", { class: "notice" }, "This browser cannot unpack the tables (it lacks DecompressionStream); any from 2023 on can.")));
  return;
}
const models = await load("models");
names = new Set(models ? models.column("model").words : []);
await startPanel();
for (const section of document.querySelectorAll(".grid[data-table]")) {
  if (section.tagName !== "DETAILS") { build(section, await load(section.dataset.table)); continue; }
  section.addEventListener("toggle", async () => {
    if (!section.open || section.dataset.built) return;
    section.dataset.built = "yes";
    build(section, await load(section.dataset.table));
    section.dataset.ready = "yes";
  });
}
await divide();
explain(JSON.parse(document.getElementById("heat").textContent)[0], await load("pairs"));
document.documentElement.dataset.ready = "yes";
performance.mark("ready");
