// Sortable, searchable tables of modules, nodes and operators. Only the rows in sight are drawn.

const tables = (() => {
  const host = byId("tables-view");
  const search = byId("tables-search");
  const count = byId("tables-count");
  let table = null;
  let kind = "module";
  let module = null;
  let choose = null;
  let isTree = false;
  const components = new WeakMap(); // Tabulator's rows by their elements, those of a tree too
  const hidden = new Set(["input", "kernel", "trainable"]);

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

  const KINDS = {
    module: {
      label: "Modules",
      columns: () => [
        name("Module"),
        words("Input", "input", 150),
        words("Output", "output", 150),
        { ...words("Kernel", "kernel", 84), hozAlign: "right", headerHozAlign: "right", cssClass: "numeric" },
        column("Params", "params", "count"),
        column("Trainable", "trainable", "count"),
        ...costColumns,
        ...saved,
      ],
      rows: rows.modules,
      open: (row) => details.module(row.id, row.alike),
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
        words("Input", "input", 150),
        words("Output", "output", 150),
        ...costColumns,
        ...saved,
      ],
      rows: () => rows.nodes(module),
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
      rows: rows.operators,
      open: (row) => nodesWith(row.label),
    },
  };

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
    search.addEventListener("input", () => (kind === "module" && isTree === isSearched() ? build() : filter()));
    build();
  }

  const isSearched = () => search.value.trim() !== "";

  /** A new table; of modules a tree, and a list while something is searched for. */
  function build() {
    if (table) table.destroy();
    isTree = kind === "module" && !isSearched();
    const listed = KINDS[kind].rows();
    const first = isTree ? rows.tree() : listed;
    const [levels, visible] = isTree ? rows.levels(first, 20) : [0, listed.length];
    drawColumns();
    table = new Tabulator(host, {
      data: first,
      columns: shown(),
      height: Math.min(560, 46 + 34 * Math.max(visible, Math.min(listed.length, 12), 3)),
      dataTree: isTree,
      dataTreeStartExpanded: (_row, level) => level < levels,
      dataTreeChildIndent: 16,
      dataTreeElementColumn: "label",
      rowHeight: 34,
      layout: "fitColumns",
      layoutColumnsOnNewData: false,
      headerSortTristate: true,
      columnDefaults: { headerSort: true, resizable: false, tooltip: false },
      placeholder: "Nothing found",
      initialSort: kind === "operator" ? [{ column: "flops", dir: "desc" }] : [],
      rowFormatter: (row) => {
        row.getElement().tabIndex = -1;
        components.set(row.getElement(), row);
        if (isTree && row.getData()._children) row.getElement().setAttribute("aria-expanded", row.isTreeExpanded());
      },
    });
    table.on("rowClick", (_event, row) => KINDS[kind].open(row.getData()));
    table.on("renderComplete", oneStop);
    table.on("tableBuilt", () => {
      roles();
      sortByKeyboard();
      filter();
    });
    table.on("dataFiltered", (_filters, found) => {
      if (!isTree) say(found.length, listed.length);
    });
    for (const [event, isOpen] of [["dataTreeRowExpanded", true], ["dataTreeRowCollapsed", false]])
      table.on(event, (row) => row.getElement().setAttribute("aria-expanded", isOpen));
  }

  const shown = () => arranged(KINDS[kind].columns()).filter(({ field }) => !hidden.has(field));

  /** A box to tick for each column but the first. */
  function drawColumns() {
    const tick = ({ title, field }) =>
      el(
        "label",
        {},
        el("input", {
          type: "checkbox",
          checked: !hidden.has(field),
          onchange: (event) => {
            hidden[event.target.checked ? "delete" : "add"](field);
            table.setColumns(shown());
            roles();
            sortByKeyboard();
          },
        }),
        title,
      );
    const choosable = KINDS[kind].columns().filter(({ field }) => field !== "label" && field !== "id");
    byId("tables-columns").replaceChildren(...choosable.map(tick));
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
    host.setAttribute("role", isTree ? "treegrid" : "grid");
    const holder = host.querySelector(".tabulator-tableholder");
    holder.setAttribute("role", "rowgroup");
    holder.removeAttribute("tabindex");
    host.querySelector(".tabulator-table").setAttribute("role", "presentation");
  }

  /** One of the rows takes the focus by Tab, the arrows lead to the others. */
  function oneStop() {
    const rows = [...host.querySelectorAll(".tabulator-row")];
    const stop = rows.find((row) => row === document.activeElement) || rows[0];
    for (const row of rows) row.tabIndex = row === stop ? 0 : -1;
  }

  function moveTo(row) {
    if (!row || !row.matches(".tabulator-row")) return;
    for (const other of host.querySelectorAll(".tabulator-row[tabindex='0']")) other.tabIndex = -1;
    row.tabIndex = 0;
    row.focus();
  }

  // Copies ------------------------------------------------------------------------------------------------------------

  /** The rows in sight of the search, with exact numbers: headings first. */
  function lines(of) {
    const columns = shown();
    const value = (row, { field }) => {
      if (field === "label") return row.full;
      if (field === "flopsShare") return percent(row.flops, TOTAL.flops);
      const raw = row.raw && row.raw[field];
      return String(raw ?? row[field] ?? "");
    };
    return [columns.map(({ title }) => title), ...of.map((row) => columns.map((c) => value(row, c)))];
  }

  /** Of a tree every module, folded or not. */
  const active = () => (isTree ? rows.modules() : table.getData("active"));
  const quoted = (cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

  byId("tables-copy").addEventListener("click", async () => {
    const text = lines(active()).map((line) => line.join("\t")).join("\n");
    await navigator.clipboard.writeText(text);
    count.textContent = "Copied";
  });
  byId("tables-csv").addEventListener("click", () => {
    const text = lines(active()).map((line) => line.map(quoted).join(",")).join("\n");
    const link = el("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: `${RAW.model}.${kind}s.csv` });
    link.click();
    URL.revokeObjectURL(link.href);
  });

  /** All rows as a plain table, for paper. */
  function onPaper() {
    const [headings, ...all] = lines(KINDS[kind].rows());
    const cells = (line, tag) => el("tr", {}, line.map((cell, i) => el(tag, { class: i ? "num" : null }, cell)));
    byId("tables-paper").replaceChildren(
      el("table", { class: "plain" }, el("thead", {}, cells(headings, "th")), el("tbody", {}, all.map((r) => cells(r, "td")))),
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
    if (row && isTree && (event.key === "ArrowRight" || event.key === "ArrowLeft")) {
      const found = components.get(row);
      found[event.key === "ArrowRight" ? "treeExpand" : "treeCollapse"]();
      moveTo(found.getElement());
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
      const all = isTree ? MODULES.length : table.getDataCount();
      say(all, all);
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
