// The panel at the side: everything about one node or one module.

const details = (() => {
  const panel = byId("details");
  let opener = null;

  function open(...content) {
    if (panel.hidden) opener = document.activeElement;
    const close = el("button", { type: "button", class: "ghost close", "aria-label": "Close", onclick: hide }, "✕");
    panel.replaceChildren(close, ...content.filter(Boolean));
    panel.hidden = false;
    panel.scrollTop = 0;
    document.body.classList.add("with-details");
  }

  function hide() {
    panel.hidden = true;
    document.body.classList.remove("with-details");
    if (opener && opener.isConnected) opener.focus({ preventScroll: true });
  }

  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !panel.hidden && !event.defaultPrevented) {
      event.preventDefault();
      hide();
    }
  });

  /** Rows of a name and a value; rows without a value are left out. */
  const facts = (rows) =>
    el(
      "dl",
      { class: "facts" },
      rows
        .filter(([, value]) => value !== null && value !== "")
        .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
    );

  const heading = (kind, name, type) =>
    el(
      "header",
      {},
      el("p", { class: "kind" }, kind),
      el("h2", {}, name),
      type ? el("p", { class: "type" }, type) : null,
    );

  const LABELS = {
    macs: "MACs",
    flops: "FLOPs",
    other_flops: "of them not MACs",
    transcendentals: "transcendentals",
    zero_accumulators: "sums from zero",
    bytes_read: "bytes read",
    bytes_written: "bytes written",
    activations: "activations",
  };

  /** The numbers of a cost, exactly, with their share of the model's. Zeros are left out. */
  function costTable(cost, shares = true) {
    const names = RAW.costFields.filter((name) => cost[name]);
    if (!names.length) return el("p", { class: "dim" }, "No cost: nothing is computed or moved.");
    return el(
      "table",
      { class: "plain costs" },
      el(
        "tbody",
        {},
        names.map((name) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, LABELS[name]),
            el("td", { class: "num" }, exact(cost.raw[name])),
            shares ? el("td", { class: "num dim" }, percent(cost[name], TOTAL[name])) : null,
          ),
        ),
      ),
    );
  }

  const shapes = (specs) =>
    specs.length
      ? el(
          "ul",
          { class: "shapes" },
          specs.map((spec) =>
            el("li", {}, specText(spec), el("span", { class: "dim" }, ` ${shortBytes(num(RAW.specs[spec][1]))}`)),
          ),
        )
      : null;

  const linkTo = (name, act) => el("button", { type: "button", class: "link", onclick: act }, name);

  /** One operation: its operator, what it was given, and by which rule it costs what. */
  function operation(row) {
    const [op, family, reason, cost, given, outputs, scope, formulas] = row;
    const isUncosted = text(family) === "uncosted";
    const heading = el("h4", {}, text(op), el("span", { class: `chip${isUncosted ? " bad" : ""}` }, text(family)));
    const where = text(scope) ? el("p", { class: "dim" }, `in ${text(scope)}`) : null;
    const record = el(
      "table",
      { class: "plain records" },
      el(
        "tbody",
        {},
        given.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, text(name)), el("td", {}, text(value)))),
        outputs.map((spec) =>
          el("tr", { class: "out" }, el("th", { scope: "row" }, "→"), el("td", {}, specText(spec))),
        ),
      ),
    );
    const price = costAt(cost);
    if (reason && !price.bytes) {
      return el(
        "li",
        { class: "operation" },
        heading,
        where,
        el("details", {}, el("summary", {}, `Free: ${reason}`), record),
      );
    }
    return el(
      "li",
      { class: "operation" },
      heading,
      where,
      record,
      el("div", { class: "rule" }, ruleOf(isUncosted, reason, formulas)),
      costTable(price, false),
    );
  }

  /** The rule that priced an operation, and its formulas with the sizes put in. */
  function ruleOf(isUncosted, reason, formulas) {
    if (isUncosted) return el("p", {}, "No rule: its arithmetic is missing, only its traffic is counted.");
    const [name, place, words, expression, terms] = formulas || ["", "", "", "", []];
    return [
      name
        ? el(
            "p",
            {},
            el("span", { class: "dim" }, "Rule "),
            el("strong", {}, name),
            el("span", { class: "dim" }, ` ${place}`),
          )
        : null,
      reason ? el("p", {}, reason) : null,
      words ? el("p", {}, words) : null,
      expression ? el("p", {}, el("span", { class: "dim" }, "For each element "), el("code", {}, expression)) : null,
      ...terms.map(([heading, value, lines, source], i) =>
        el(
          "details",
          { class: "term", open: i === 0 },
          el("summary", {}, heading, el("span", { class: "num" }, value)),
          el(
            "div",
            { class: "formula" },
            lines.map((line) => el("div", {}, line)),
          ),
          source ? el("p", { class: "dim" }, `Source: ${source}`) : null,
        ),
      ),
    ];
  }

  const moduleLink = (id) =>
    id === 0 ? linkTo(RAW.model, () => module(0)) : linkTo(MODULES[id].name, () => module(id));
  const nodeLink = (id) => linkTo(NODES[id].name, () => node(id));

  const readers = (() => {
    let made = null;
    return (id) => {
      if (!made) {
        made = NODES.map(() => []);
        for (const { id: reader, reads } of NODES) for (const read of reads) made[read].push(reader);
      }
      return made[id];
    };
  })();

  const list = (ids, link) => {
    const shown = ids.slice(0, 12).flatMap((id, i) => (i ? [", ", link(id)] : [link(id)]));
    return ids.length ? el("span", {}, shown, ids.length > 12 ? ` and ${ids.length - 12} more` : null) : "";
  };

  function node(id) {
    const n = NODES[id];
    const operations = RAW.runs[n.run].map((i) => RAW.operations[i]);
    open(
      heading("Node", n.name, n.calls),
      facts([
        ["Kind", n.kind],
        ["Calls", n.target !== n.calls && n.target !== n.name ? n.target : ""],
        ["Module", moduleLink(n.module)],
        ["Reads", list(n.reads, nodeLink)],
        ["Read by", list(readers(id), nodeLink)],
        ["Inputs", shapes(n.inputs)],
        ["Outputs", shapes(n.outputs)],
        ["Saved for backward", RAW.hasSaved && n.saved ? full(n.saved, "bytes") : ""],
      ]),
      el("h3", {}, "Cost"),
      costTable(n.cost),
      operations.length
        ? el("h3", {}, `${operations.length} operation${operations.length > 1 ? "s" : ""} recorded`)
        : null,
      el("ol", { class: "operations" }, operations.slice(0, 60).map(operation)),
      operations.length > 60 ? el("p", { class: "dim" }, `and ${exact(operations.length - 60)} more operations`) : null,
    );
  }

  function module(id, repeats = null) {
    const m = MODULES[id];
    open(
      heading("Module", m.name || RAW.model, m.name ? m.type : ""),
      facts([
        ["Also named", m.aliases.join(", ")],
        ["Drawn for", repeats],
        ["Within", m.parent >= 0 ? moduleLink(m.parent) : ""],
        ["Calls", m.calls ? exact(m.calls) : ""],
        ["Input", shapes(m.inputs)],
        ["Output", shapes(m.outputs)],
        ["Kernel", m.kernel],
        ["Parameters", m.params.params ? `${exact(m.params.params)} (${shortBytes(m.params.bytes)})` : ""],
        ["Its own", m.children.length && m.ownParams.params ? exact(m.ownParams.params) : ""],
        ["Buffers", m.params.buffers ? `${exact(m.params.buffers)} (${shortBytes(m.params.bufferBytes)})` : ""],
        ["Saved for backward", RAW.hasSaved && m.saved ? full(m.saved, "bytes") : ""],
        ["Runs itself", m.operators.join(", ")],
        ["Children", list(m.children, moduleLink)],
      ]),
      el("h3", {}, m.children.length ? "Cost, children included" : "Cost"),
      costTable(m.cost),
      m.children.length && m.operators.length ? el("h3", {}, "Its own") : null,
      m.children.length && m.operators.length ? costTable(m.own) : null,
      el(
        "p",
        { class: "actions" },
        el("button", { type: "button", onclick: () => structure.show(id) }, "Show in structure"),
        el("button", { type: "button", onclick: () => tables.nodesOf(id) }, "List its nodes"),
      ),
    );
  }

  return { node, module, open, hide, heading, facts, costTable, linkTo };
})();
