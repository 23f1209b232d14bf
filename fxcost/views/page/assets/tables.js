// Sortable, searchable tables of modules, nodes and operators. Only the rows in sight are drawn.

const tables = (() => {
  const host = byId("tables-view");
  const search = byId("tables-search");
  const count = byId("tables-count");
  let table = null;
  let kind = "module";
  let module = null;
  let choose = null;

  // Cells: texts and elements, never markup ---------------------------------------------------------------------------

  const number = (unit, rawOf) => (cell) => {
    const n = cell.getValue();
    const raw = rawOf ? rawOf(cell.getData()) : n;
    return n ? el("span", { title: full(raw, unit) }, short(n, unit)) : el("span", { class: "zero" }, "0");
  };

  function share(cell) {
    const part = cell.getValue();
    const bar = el("span", { class: "share-bar" });
    bar.style.width = `${TOTAL.flops ? Math.min(100, (100 * part) / TOTAL.flops) : 0}%`;
    return el("span", { class: "share" }, bar, el("span", { class: "share-text" }, percent(part, TOTAL.flops)));
  }

  const named = (cell) => {
    const row = cell.getData();
    return el(
      "span",
      { class: "named", title: row.full },
      row.label,
      row.type ? el("span", { class: "dim" }, ` ${row.type}`) : null,
    );
  };
  const plain = (cell) => el("span", { title: cell.getValue() }, cell.getValue());

  // Columns -----------------------------------------------------------------------------------------------------------

  const column = (title, field, unit, rawOf) => ({
    title,
    field,
    hozAlign: "right",
    headerHozAlign: "right",
    cssClass: "numeric",
    sorter: "number",
    headerSortStartingDir: "desc",
    width: 112,
    formatter: number(unit, rawOf),
  });
  const costColumns = [
    column("MACs", "macs", "count", (row) => row.raw && row.raw.macs),
    column("FLOPs", "flops", "count", (row) => row.raw && row.raw.flops),
    { ...column("% FLOPs", "flopsShare"), width: 118, formatter: share },
    column("Bytes", "bytes", "bytes"),
    column("Activations", "activations", "count", (row) => row.raw && row.raw.activations),
  ];
  const saved = RAW.hasSaved ? [column("Saved", "saved", "bytes")] : [];
  const words = (title, field, width) => ({ title, field, width, formatter: plain, sorter: "string" });
  const name = (title) => ({
    title,
    field: "label",
    minWidth: 190,
    widthGrow: 3,
    frozen: innerWidth > 700,
    formatter: named,
    sorter: "string",
    sorterParams: { locale: false },
  });

  const costRow = (cost) => ({
    macs: cost.macs,
    flops: cost.flops,
    flopsShare: cost.flops,
    bytes: cost.bytes,
    activations: cost.activations,
    raw: cost.raw,
  });
  const shapesText = (specs) => specs.map((spec) => specText(spec).replace(/^\w+/, "")).join(" ");

  const KINDS = {
    module: {
      label: "Modules",
      columns: () => [
        name("Module"),
        words("Output", "output", 150),
        column("Params", "params", "count"),
        ...costColumns,
        ...saved,
      ],
      rows: moduleRows,
      open: (row) => details.module(row.id),
    },
    node: {
      label: "Nodes",
      columns: () => [
        {
          ...words("#", "id", 64),
          hozAlign: "right",
          headerHozAlign: "right",
          cssClass: "numeric",
          sorter: "number",
          frozen: innerWidth > 700,
          formatter: (cell) => el("span", { class: "dim" }, String(cell.getValue())),
        },
        name("Node"),
        words("Module", "module", 170),
        words("Output", "output", 150),
        ...costColumns,
        ...saved,
      ],
      rows: nodeRows,
      open: (row) => details.node(row.id),
    },
    operator: {
      label: "Operators",
      columns: () => [
        name("Operator"),
        words("Family", "family", 130),
        { ...column("Runs", "count", "count"), formatter: (cell) => exact(cell.getValue()) },
        ...costColumns,
      ],
      rows: operatorRows,
      open: (row) => nodesWith(row.label),
    },
  };

  function moduleRows() {
    return MODULES.map((m) => ({
      id: m.id,
      label: m.name || RAW.model,
      full: m.name || RAW.model,
      type: m.type && m.name ? m.type : "",
      output: shapesText(m.outputs),
      params: m.params.params,
      saved: m.saved,
      ...costRow(m.cost),
      find: `${m.name} ${m.type} ${m.aliases.join(" ")}`,
    }));
  }

  const operatorOf = (operation) => text(RAW.operations[operation][0]);

  function nodeRows() {
    return NODES.filter((n) => module === null || n.module === module || within(n.module, module)).map((n) => ({
      id: n.id,
      label: n.name,
      full: n.name,
      type: n.calls === n.name ? "" : n.calls.split(".").pop(),
      module: MODULES[n.module].name,
      output: shapesText(n.outputs),
      saved: n.saved,
      ...costRow(n.cost),
      find: [n.name, n.calls, MODULES[n.module].name, ...new Set(RAW.runs[n.run].map(operatorOf))].join(" "),
    }));
  }

  function operatorRows() {
    return OPERATORS.map((o) => ({
      id: o.id,
      label: o.name,
      full: o.name,
      type: "",
      family: o.family,
      count: o.count,
      ...costRow(o.cost),
      find: `${o.name} ${o.family}`,
    }));
  }

  function within(id, ancestor) {
    for (let at = id; at >= 0; at = MODULES[at].parent) if (at === ancestor) return true;
    return false;
  }

  // The table ---------------------------------------------------------------------------------------------------------

  function start() {
    if (choose) return;
    choose = segments(
      byId("tables-kind"),
      Object.entries(KINDS).map(([key, { label }]) => ({ key, label })),
      kind,
      (key) => {
        [kind, module] = [key, null];
        build();
      },
    );
    search.addEventListener("input", filter);
    build();
  }

  function build() {
    if (table) table.destroy();
    const rows = KINDS[kind].rows();
    for (const row of rows) row.find = row.find.toLowerCase();
    table = new Tabulator(host, {
      data: rows,
      columns: arranged(KINDS[kind].columns()),
      height: Math.min(560, 46 + 34 * Math.max(rows.length, 3)),
      rowHeight: 34,
      layout: "fitColumns",
      layoutColumnsOnNewData: false,
      headerSortTristate: true,
      columnDefaults: { headerSort: true, resizable: false, tooltip: false },
      placeholder: "Nothing found",
      initialSort: kind === "operator" ? [{ column: "flops", dir: "desc" }] : [],
      rowFormatter: (row) => {
        row.getElement().tabIndex = -1;
      },
    });
    table.on("rowClick", (_event, row) => KINDS[kind].open(row.getData()));
    table.on("renderComplete", oneStop);
    table.on("tableBuilt", () => {
      roles();
      sortByKeyboard();
      filter();
    });
    table.on("dataFiltered", (_filters, found) => say(found.length, rows.length));
  }

  /** Where there is little room, numbers stand before shapes and names of modules. */
  function arranged(columns) {
    if (innerWidth > 700) return columns;
    const isLater = ({ field }) => field === "output" || field === "module";
    return [...columns.filter((column) => !isLater(column)), ...columns.filter(isLater)];
  }

  /** The roles of a grid, which Tabulator gives to the part that scrolls instead of the part that has the rows. */
  function roles() {
    host.removeAttribute("aria-owns");
    host.setAttribute("aria-label", KINDS[kind].label);
    const holder = host.querySelector(".tabulator-tableholder");
    holder.setAttribute("role", "rowgroup");
    holder.removeAttribute("tabindex");
    host.querySelector(".tabulator-table").setAttribute("role", "presentation");
  }

  /** One of the rows takes the focus by Tab, the arrows lead to the others. */
  function oneStop() {
    const rows = [...host.querySelectorAll(".tabulator-row")];
    if (rows.length && !rows.some((row) => row.tabIndex === 0)) rows[0].tabIndex = 0;
  }

  function moveTo(row) {
    if (!row || !row.matches(".tabulator-row")) return;
    for (const other of host.querySelectorAll(".tabulator-row[tabindex='0']")) other.tabIndex = -1;
    row.tabIndex = 0;
    row.focus();
  }

  // Copies ------------------------------------------------------------------------------------------------------------

  /** The rows in sight of the search, with exact numbers: headings first. */
  function lines(rows) {
    const columns = arranged(KINDS[kind].columns());
    const value = (row, { field }) => {
      if (field === "label") return row.full;
      if (field === "flopsShare") return percent(row.flops, TOTAL.flops);
      const raw = row.raw && row.raw[field];
      return String(raw ?? row[field] ?? "");
    };
    return [columns.map(({ title }) => title), ...rows.map((row) => columns.map((c) => value(row, c)))];
  }

  const quoted = (cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

  byId("tables-copy").addEventListener("click", async () => {
    const text = lines(table.getData("active")).map((line) => line.join("\t")).join("\n");
    await navigator.clipboard.writeText(text);
    count.textContent = "Copied";
  });
  byId("tables-csv").addEventListener("click", () => {
    const text = lines(table.getData("active")).map((line) => line.map(quoted).join(",")).join("\n");
    const link = el("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: `${RAW.model}.${kind}s.csv` });
    link.click();
    URL.revokeObjectURL(link.href);
  });

  /** All rows as a plain table, for paper. */
  function onPaper() {
    const [headings, ...rows] = lines(KINDS[kind].rows());
    const cells = (line, tag) => el("tr", {}, line.map((cell, i) => el(tag, { class: i ? "num" : null }, cell)));
    byId("tables-paper").replaceChildren(
      el("table", { class: "plain" }, el("thead", {}, cells(headings, "th")), el("tbody", {}, rows.map((r) => cells(r, "td")))),
    );
  }

  /** Headings take the focus and sort on Enter, as they do on a click; rows open on Enter. */
  function sortByKeyboard() {
    for (const heading of host.querySelectorAll(".tabulator-col[tabulator-field]")) heading.tabIndex = 0;
  }
  host.addEventListener("keydown", (event) => {
    const row = event.target.closest(".tabulator-row");
    if (row && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      moveTo(event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling);
      event.preventDefault();
    }
    if (event.key !== "Enter" || event.target.closest("button")) return;
    const sortable = event.target.closest(".tabulator-col");
    if (sortable) sortable.querySelector(".tabulator-col-content").click();
    else if (event.target.closest(".tabulator-row")) event.target.closest(".tabulator-row").click();
  });

  function filter() {
    const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!table || !table.initialized) return;
    if (terms.length) table.setFilter((row) => terms.every((term) => row.find.includes(term)));
    else {
      table.clearFilter(true);
      say(table.getDataCount(), table.getDataCount());
    }
  }

  function say(found, all) {
    const where = module === null ? "" : ` in ${MODULES[module].name || RAW.model}`;
    count.textContent = `${found === all ? exact(all) : `${exact(found)} of ${exact(all)}`}${where}`;
  }

  /** Lists the nodes that ran an operator. */
  function nodesWith(operator) {
    search.value = operator;
    choose("node");
  }

  /** Lists the nodes of one module, from elsewhere on the page. */
  function nodesOf(id) {
    byId("tables").scrollIntoView();
    start();
    search.value = "";
    choose("node");
    module = id;
    build();
  }

  return { start, nodesOf, onPaper };
})();
