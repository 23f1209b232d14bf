// Each section is drawn when it comes near the window.

if (RAW.diff) whenNear(byId("diff"), diff.start);
whenNear(byId("structure"), structure.start);
whenNear(byId("tables"), tables.start);
whenNear(byId("graph"), graph.start);
whenNear(byId("memory"), memory.start);

// The section in view is marked in the bar on top.
const marks = new Map([...document.querySelectorAll(".top nav a")].map((link) => [link.hash.slice(1), link]));
const inBand = new Set();
const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) inBand[isIntersecting ? "add" : "delete"](target.id);
    const first = [...marks.keys()].find((id) => inBand.has(id));
    for (const [id, link] of marks) link.toggleAttribute("aria-current", id === first);
  },
  { rootMargin: "-30% 0px -60% 0px" },
);
for (const id of marks.keys()) if (byId(id)) seen.observe(byId(id));

// For paper everything is drawn, in light colours, and tables have all their rows.
let theme;
let putBack;
addEventListener("beforeprint", () => {
  theme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  drawNow();
  tables.onPaper();
  putBack = graph.onPaper();
  for (const fold of document.querySelectorAll("details.fold")) fold.open = true;
});
addEventListener("afterprint", () => {
  putBack();
  if (theme === undefined) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
});
