// What the tables list: a row for each module, node and operator, and modules as a tree in which repeats are one row.

const rows = (() => {
  const costRow = (cost) => ({
    macs: cost.macs,
    flops: cost.flops,
    flopsShare: cost.flops,
    bytes: cost.bytes,
    activations: cost.activations,
    raw: cost.raw,
  });
  const shapesText = (specs) => specs.map((spec) => specText(spec).replace(/^\w+/, "")).join(" ");

  /** A row of one module, or of `ids` that are alike with their sum. */
  function moduleRow(m, label, ids = [m.id]) {
    const times = ids.length;
    return {
      id: m.id,
      label,
      full: m.name || RAW.model,
      type: m.type && m.name ? m.type : "",
      alike: times > 1 ? `${times} alike: ${runName(ids)}` : null,
      input: shapesText(m.inputs),
      output: shapesText(m.outputs),
      kernel: m.kernel,
      params: m.params.params * times,
      trainable: m.params.trainable * times,
      saved: m.saved * times,
      ...costRow(times > 1 ? multiplied(m.cost, times) : m.cost),
      find: `${m.name} ${m.type} ${m.aliases.join(" ")}`.toLowerCase(),
    };
  }

  function multiplied(cost, times) {
    const raw = Object.fromEntries(Object.entries(cost.raw).map(([name, n]) => [name, String(BigInt(n) * BigInt(times))]));
    const made = Object.fromEntries(Object.entries(raw).map(([name, n]) => [name, Number(n)]));
    return { ...made, bytes: made.bytes_read + made.bytes_written, raw };
  }

  const modules = () => MODULES.map((m) => moduleRow(m, m.name || RAW.model));

  /** The root with its children below it, and so on; those that repeat stand under a row with their sum. */
  function tree() {
    const made = MODULES.map((m) => moduleRow(m, m.local));
    for (const m of MODULES) {
      if (!m.children.length) continue;
      made[m.id]._children = runsOf(m).map((ids) => {
        if (ids.length === 1) return made[ids[0]];
        const folded = moduleRow(MODULES[ids[0]], `${runName(ids)} ×${ids.length}`, ids);
        return { ...folded, _children: ids.map((id) => made[id]) };
      });
    }
    return made.slice(0, 1);
  }

  /** How many levels of a tree fit into so many rows (the first always opens), and how many rows they are. */
  function levels(top, most) {
    let [seen, level, number] = [top.length, top, 0];
    for (;;) {
      level = level.flatMap((row) => row._children || []);
      if (!level.length || (number && seen + level.length > most)) return [number, seen];
      seen += level.length;
      number += 1;
    }
  }

  const operatorOf = (operation) => text(RAW.operations[operation][0]);

  /** The nodes, or those within one module. */
  function nodes(module) {
    return NODES.filter((n) => module === null || n.module === module || within(n.module, module)).map((n) => ({
      id: n.id,
      label: n.name,
      full: n.name,
      type: n.calls === n.name ? "" : n.calls.split(".").pop(),
      module: MODULES[n.module].name,
      input: shapesText(n.inputs),
      output: shapesText(n.outputs),
      saved: n.saved,
      ...costRow(n.cost),
      find: [n.name, n.calls, MODULES[n.module].name, ...new Set(RAW.runs[n.run].map(operatorOf))].join(" ").toLowerCase(),
    }));
  }

  const operators = () =>
    OPERATORS.map((o) => ({
      id: o.id,
      label: o.name,
      full: o.name,
      type: "",
      family: o.family,
      count: o.count,
      ...costRow(o.cost),
      find: `${o.name} ${o.family}`.toLowerCase(),
    }));

  function within(id, ancestor) {
    for (let at = id; at >= 0; at = MODULES[at].parent) if (at === ancestor) return true;
    return false;
  }

  return { modules, tree, levels, nodes, operators };
})();
