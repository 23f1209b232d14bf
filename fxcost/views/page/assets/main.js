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

// Everything is drawn for printing.
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details.fold")) fold.open = true;
});
