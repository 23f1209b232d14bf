// Positions of the cells of the icicle and the treemap: d3's hierarchy laid out for one metric.

const cells = (() => {
  /** The module tree, repeats folded, with one leaf more for what a module with children does itself: parts fill the whole. */
  function tree(metric) {
    const folded = (ids, factor) => ({ ...MODULES[ids[0]], ids, factor: factor * ids.length });
    const valueOf = (data) => (data.ownOf === undefined ? metric.of(MODULES[data.id]) * data.factor : data.value);
    const children = (data) => {
      if (data.ownOf !== undefined || !data.children.length) return null;
      const below = runsOf(MODULES[data.id]).map((ids) => folded(ids, data.factor));
      const rest = valueOf(data) - d3.sum(below, valueOf);
      return rest > 0 ? [...below, { ownOf: data.id, value: rest }] : below;
    };
    const root = d3.hierarchy(folded([0], 1), children);
    root.each((d) => {
      d.value = valueOf(d.data);
    });
    return root;
  }

  const times = (d) => (d.data.ids && d.data.ids.length > 1 ? ` ×${d.data.ids.length}` : "");
  const title = (d) => {
    if (d.data.ownOf === undefined) return `${runName(d.data.ids)}${times(d)}`;
    return `[${MODULES[d.data.ownOf].operators.slice(0, 3).join(", ") || "its own"}]`;
  };
  const type = (d) => (d.data.ownOf === undefined ? d.data.type : "");
  const moduleId = (d) => (d.data.ownOf === undefined ? d.data.id : d.data.ownOf);
  const path = (d) =>
    d.data.ownOf === undefined ? `${d.data.name || RAW.model}${times(d)}` : `${title(d)} of ${MODULES[d.data.ownOf].name || RAW.model}`;

  /** What details say of a module that stands for several; null for one. */
  const alike = (d) => (times(d) ? `${d.data.ids.length} alike: ${title(d)}` : null);

  /** Rows from the focus down, as wide as their share of it; neighbours narrower than `least` are one `rest`. */
  function icicle(focus, width, { row, least, rows }) {
    const made = [];
    const rest = [];
    const stack = [[focus, 0, width]];
    while (stack.length) {
      const [d, x, w] = stack.pop();
      const depth = d.depth - focus.depth;
      made.push({ d, x, y: depth * row, w, h: row });
      if (depth + 1 >= rows || !d.children || !d.value) continue;
      let at = x;
      let small = { x, w: 0, count: 0 };
      for (const child of d.children) {
        const share = (w * child.value) / d.value;
        if (share < least) small = { x: small.count ? small.x : at, w: small.w + share, count: small.count + 1 };
        else {
          stack.push([child, at, share]);
          if (small.w >= least) rest.push({ ...small, y: (depth + 1) * row, h: row });
          small = { x: at + share, w: 0, count: 0 };
        }
        at += share;
      }
      if (small.w >= least) rest.push({ ...small, y: (depth + 1) * row, h: row });
    }
    return { made, rest, height: d3.max([...made, ...rest], (cell) => cell.y) + row };
  }

  /** Areas within the focus, parents with a line for their name where there is room. */
  function treemap(focus, width, height, { header, least, levels }) {
    const copy = focus.copy();
    copy.each((d) => {
      d.value = d.value || 0;
    });
    copy.sort((a, b) => b.value - a.value);
    d3
      .treemap()
      .size([width, height])
      .paddingInner(2)
      .paddingOuter(2)
      .paddingTop((d) => (d.children ? header : 0))
      .round(true)
      .tile(d3.treemapSquarify.ratio(1.3))(copy);
    const made = [];
    const stack = [copy];
    const origin = new Map();
    pairUp(copy, focus, origin);
    while (stack.length) {
      const d = stack.pop();
      const [w, h] = [d.x1 - d.x0, d.y1 - d.y0];
      if (w < least || h < least) continue;
      const isOpen = Boolean(d.children) && d.depth < levels && w > 36 && h > header + 14;
      made.push({ d: origin.get(d), x: d.x0, y: d.y0, w, h, isOpen });
      if (isOpen) stack.push(...d.children);
    }
    return { made, rest: [], height };
  }

  /** Which node of the whole tree each node of a sorted copy stands for. */
  function pairUp(copy, focus, origin) {
    const byData = new Map(
      focus.descendants().map((d) => [d.data.ownOf === undefined ? d.data.id : `own ${d.data.ownOf}`, d]),
    );
    copy.each((d) => origin.set(d, byData.get(d.data.ownOf === undefined ? d.data.id : `own ${d.data.ownOf}`)));
  }

  return { tree, title, type, moduleId, path, alike, icicle, treemap };
})();
