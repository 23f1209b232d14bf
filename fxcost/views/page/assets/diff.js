// Two models side by side: totals, then each module with its numbers before and after.

const diff = (() => {
  const data = RAW.diff;
  const MEASURES = {
    params: ["Parameters", "count"],
    macs: ["MACs", "count"],
    flops: ["FLOPs", "count"],
    bytes: ["Bytes moved", "bytes"],
    peak_memory: ["Peak memory", "bytes"],
    sent: ["Sent bytes", "bytes"],
  };
  const measureOf = (name) => MEASURES[name] || [name, "count"];
  const signed = (n, unit) => (n ? `${n > 0 ? "+" : ""}${short(n, unit)}` : "–");
  const tone = (n) => (n > 0 ? "more" : n < 0 ? "less" : "dim");
  const state = { all: false, measure: "flops", search: "" };
  const named = (side) => data[side].name || (side === "before" ? "Before" : "After");

  function start() {
    const names = data.totals.map(({ name }) => name).filter((name) => data.modules.some((row) => name in row.figures));
    const choices = names.map((key) => ({ key, label: measureOf(key)[0] }));
    const pick = el("div", { class: "segments", role: "group", "aria-label": "Number compared" });
    const all = el("input", {
      type: "checkbox",
      id: "diff-all",
      onchange: (event) => {
        state.all = event.target.checked;
        rows();
      },
    });
    byId("diff-view").replaceChildren(
      totals(),
      el(
        "div",
        { class: "tools inner" },
        pick,
        el("label", { for: "diff-all", class: "check" }, all, "also what did not change"),
        el("input", {
          type: "search",
          placeholder: "Search modules",
          "aria-label": "Search in the modules before and after",
          oninput: (event) => {
            state.search = event.target.value;
            rows();
          },
        }),
      ),
      el("div", {
        class: "scroll",
        tabindex: 0,
        role: "region",
        "aria-label": "Modules before and after",
        id: "diff-rows",
      }),
    );
    segments(pick, choices, state.measure, (key) => {
      state.measure = key;
      rows();
    });
    rows();
  }

  function totals() {
    return el(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Totals before and after" },
      el(
        "table",
        { class: "plain totals" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            ["Number", named("before"), named("after"), "Change", "%"].map((head, i) =>
              el("th", { class: i ? "num" : null, scope: "col" }, head),
            ),
          ),
        ),
        el(
          "tbody",
          {},
          data.totals.map(({ name, before, after }) => {
            const [label, unit] = measureOf(name);
            const change = num(after) - num(before);
            const relative =
              num(before) && change
                ? `${change > 0 ? "+" : "-"}${percentOf(Math.abs(change) / num(before))}%`
                : "–";
            return el(
              "tr",
              {},
              el("th", { scope: "row" }, label),
              el("td", { class: "num", title: full(before, unit) }, short(num(before), unit)),
              el("td", { class: "num", title: full(after, unit) }, short(num(after), unit)),
              el("td", { class: `num ${tone(change)}` }, signed(change, unit)),
              el("td", { class: `num ${tone(change)}` }, relative),
            );
          }),
        ),
      ),
    );
  }

  const percentOf = (share) => (share >= 0.01 ? (100 * share).toFixed(1) : (100 * share).toPrecision(2));

  /** What changed, with neighbours that changed alike in one line, or every module. */
  function lines() {
    const one = (row, i) => ({ row, i, name: null, times: 1 });
    if (state.all) return data.modules.map(one);
    const folded = (data.lines || []).map(({ module, name, times }) => ({ row: data.modules[module], name, times }));
    return [...data.modules.slice(0, 1).map(one), ...folded];
  }

  /** False for a module that came or went with its parent. */
  const isNews = (row) =>
    row.kind &&
    !(
      row.parent >= 0 &&
      data.modules[row.parent].kind === row.kind &&
      (row.kind === "added" || row.kind === "removed")
    );

  /** The modules: what changed with its parents, or all. At most 500 lines; the rest is counted. */
  function rows() {
    const [label, unit] = measureOf(state.measure);
    const wanted = state.search.toLowerCase();
    const isWanted = ({ row }) =>
      [row.before, row.after, row.type_before, row.type_after].some((text) => (text || "").toLowerCase().includes(wanted));
    const found = lines();
    const shown = wanted ? found.filter(isWanted) : found;
    const widest = d3.max(shown, ({ row, times }) => times * d3.max(row.figures[state.measure], num)) || 1;
    const bar = (n, name) => {
      const made = el("span", { class: `side-bar ${name}` });
      made.style.width = `${(100 * n) / widest}%`;
      return made;
    };
    byId("diff-rows").replaceChildren(
      el(
        "table",
        { class: "plain side-by-side" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", {}, "Module before"),
            el("th", { class: "num" }, label),
            el("th", {}, "Module after"),
            el("th", { class: "num" }, label),
            el("th", { class: "num" }, "Change"),
          ),
        ),
        el(
          "tbody",
          {},
          shown.slice(0, 500).map(({ row, name, times }) => {
            const [was, now] = row.figures[state.measure].map((n) => times * num(n));
            const indent = (cell) => {
              cell.style.paddingLeft = `${12 + 14 * Math.min(row.depth, 12)}px`;
              return cell;
            };
            return el(
              "tr",
              { class: row.kind || null, "data-kind": row.kind },
              indent(el("td", {}, side(row.before, row.type_before, row, data.before.type, name, times))),
              el(
                "td",
                { class: "num sized" },
                row.before === null ? "" : short(was, unit),
                row.before === null ? null : bar(was, "was"),
              ),
              indent(
                el(
                  "td",
                  {},
                  side(row.after, row.type_after, row, data.after.type, name, times),
                  isNews(row) ? el("span", { class: `chip ${row.kind}` }, row.kind) : null,
                ),
              ),
              el(
                "td",
                { class: "num sized" },
                row.after === null ? "" : short(now, unit),
                row.after === null ? null : bar(now, "now"),
              ),
              el("td", { class: `num ${tone(now - was)}` }, signed(now - was, unit)),
            );
          }),
        ),
      ),
      shown.length > 500 ? el("p", { class: "hint" }, `and ${exact(shown.length - 500)} modules more`) : "",
      shown.length ? "" : el("p", { class: "hint" }, "No module changed."),
    );
  }

  function side(name, type, row, model, run, times) {
    if (name === null) return el("span", { class: "dim" }, "–");
    const own = row.depth ? name.slice(name.lastIndexOf(".") + 1) : model;
    const local = run && name === (row.after === null ? row.before : row.after) ? run : own;
    const class_ = row.depth && type ? el("span", { class: "dim" }, ` ${type}`) : null;
    return el("span", { title: name }, local, class_, times > 1 ? el("span", { class: "dim" }, ` ×${times}`) : null);
  }

  return { start };
})();
