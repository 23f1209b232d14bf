// The icicle and the treemap of the modules: which part of the model costs how much.

const structure = (() => {
  const ROW = 34;
  const view = byId("structure-view");
  const crumbs = byId("structure-path");
  const hint = byId("structure-hint");
  const state = { metric: METRICS[0], layout: "icicle", focus: null, root: null, index: null, ready: false };
  let drawn = new Map();

  function start() {
    if (state.ready) return;
    state.metric = METRICS.find((metric) => metric.of(MODULES[0]) > 0) || METRICS[0];
    segments(byId("structure-metric"), METRICS, state.metric.key, (key) => {
      state.metric = metricOf(key);
      rebuild();
    });
    segments(
      byId("structure-layout"),
      [
        { key: "icicle", label: "Icicle" },
        { key: "treemap", label: "Treemap" },
      ],
      "icicle",
      (key) => {
        state.layout = key;
        draw();
      },
    );
    view.addEventListener("keydown", keys);
    view.addEventListener("pointerleave", () => tip.hide());
    state.ready = true;
    rebuild();
    onResize(view, draw);
  }

  /** A new hierarchy for another metric, with the same module in focus. */
  function rebuild() {
    const id = state.focus ? cells.moduleId(state.focus) : 0;
    state.root = cells.tree(state.metric);
    state.index = new Map(state.root.descendants().map((d) => [keyOf(d), d]));
    state.root.each((d) => (d.data.ids || []).forEach((id) => state.index.set(`${id}`, d)));
    state.focus = find(id) || state.root;
    draw();
  }

  /** A cell's key: the number of its module, or of the module whose own work it is. Keys are texts, as attributes are. */
  const keyOf = (d) => (d.data.ownOf === undefined ? `${d.data.id}` : `own ${d.data.ownOf}`);
  /** The cell of a module; of one inside a repeat that is not drawn, the cell of the repeat. */
  const find = (id) => {
    let at = id;
    while (at >= 0 && !state.index.has(`${at}`)) at = MODULES[at].parent;
    return state.index.get(`${at}`);
  };

  function draw() {
    const width = view.clientWidth;
    if (!width) return;
    const { focus, layout, metric } = state;
    const rows = Math.min(10, focus.height + 1);
    const { made, rest, height } =
      layout === "icicle"
        ? cells.icicle(focus, width, { row: ROW, least: 2, rows })
        : cells.treemap(focus, width, Math.max(320, Math.min(560, width * 0.6)), { header: 22, least: 4, levels: 5 });
    const largest = d3.max(
      made.filter((cell) => !cell.isOpen && cell.d !== focus),
      (cell) => cell.d.value,
    );
    const before = drawn;
    drawn = new Map();
    for (const cell of made) place(cell, before, largest);
    for (const [key, element] of before) if (!drawn.has(key)) element.remove();
    for (const old of view.querySelectorAll(".rest")) old.remove();
    view.append(...rest.map(placeRest));
    view.style.height = `${height}px`;
    view.classList.toggle("treemap", layout === "treemap");
    const first = drawn.get(keyOf(focus));
    if (first && !view.querySelector("[tabindex='0']")) first.tabIndex = 0;
    drawCrumbs();
    hint.textContent = focus.value ? howToRead() : `${focus.data.name || RAW.model} has no ${metric.label}.`;
  }

  function howToRead() {
    const click = "Click a module to go into it; a click on the top one goes back up.";
    return `Size: ${state.metric.label}. Colour: in proportion to the largest shown, from light to dark. ${click}`;
  }

  /** Makes or moves the element of a cell. */
  function place({ d, x, y, w, h, isOpen }, before, most) {
    const key = keyOf(d);
    const element = before.get(key) || make(d);
    const gap = state.layout === "icicle" ? 1 : 0;
    Object.assign(element.style, {
      left: `${x}px`,
      top: `${y}px`,
      width: `${Math.max(w - gap, 1)}px`,
      height: `${h - gap}px`,
    });
    const isFrame = d === state.focus || Boolean(isOpen);
    element.className = `cell ${isFrame ? "frame" : shadeClass(shade(d.value / most))}${w < 44 || h < 16 ? " tiny" : ""}`;
    const value = short(d.value, state.metric.unit);
    element.querySelector(".value").textContent =
      w > 150 ? `${value} · ${percent(d.value, state.root.value)}` : w > 96 ? value : "";
    const seen = [...element.children].filter((part) => !part.matches(".value")).map((part) => part.textContent);
    const share = percent(d.value, state.root.value);
    element.setAttribute("aria-label", `${seen.join(" ")} ${value} · ${share}, ${state.metric.label}: ${cells.path(d)}`);
    if (!element.isConnected) view.append(element);
    drawn.set(key, element);
  }

  /** Neighbours that are too small to be shown one by one. */
  function placeRest({ x, y, w, h, count }) {
    const made = el("div", { class: "cell rest", title: `${count} modules, too small to show` });
    Object.assign(made.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h - 1}px` });
    return made;
  }

  function make(d) {
    const key = keyOf(d);
    const current = () => state.index.get(key);
    return el(
      "button",
      {
        type: "button",
        tabindex: -1,
        "data-key": key,
        onclick: () => open(current()),
        onfocus: (event) => {
          for (const other of view.querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
          event.currentTarget.tabIndex = 0;
        },
        onpointerenter: (event) => describe(event, current()),
        onpointermove: (event) => tip.move(event),
      },
      el("span", { class: "name" }, cells.title(d)),
      " ",
      el("span", { class: "value" }),
    );
  }

  function describe(event, d) {
    if (event.pointerType === "touch") return;
    const { metric, root, focus } = state;
    const ofFocus = focus === root || d === focus ? "" : `, ${percent(d.value, focus.value)} of ${focus.data.local}`;
    const lines = [
      cells.type(d),
      `${full(d.value, metric.unit)} ${metric.unit === "bytes" ? "" : metric.label}`,
      `${percent(d.value, root.value)} of the model${ofFocus}`,
    ];
    tip.show(event, cells.path(d), lines.filter(Boolean));
  }

  /** Into a module with children, out of the one in focus, and details of every one. */
  function open(d) {
    tip.hide();
    if (d === state.focus && d.parent) focusOn(d.parent);
    else if (d.children) focusOn(d);
    else details.module(cells.moduleId(d), cells.alike(d));
  }

  function focusOn(d) {
    state.focus = d;
    draw();
    const element = drawn.get(keyOf(d));
    if (view.contains(document.activeElement) && element) element.focus({ preventScroll: true });
  }

  function drawCrumbs() {
    const parts = state.focus.ancestors().reverse();
    crumbs.replaceChildren(
      ...parts.flatMap((d, i) => {
        const isLast = i === parts.length - 1;
        const step = isLast
          ? el(
              "strong",
              { "aria-current": "location" },
              cells.title(d),
              d.data.name && d.data.type ? el("span", { class: "dim" }, ` ${d.data.type}`) : null,
            )
          : details.linkTo(cells.title(d), () => focusOn(d));
        return i ? [el("span", { class: "sep", "aria-hidden": "true" }, "/"), step] : [step];
      }),
      el(
        "button",
        { type: "button", class: "link about", onclick: () => details.module(state.focus.data.id, cells.alike(state.focus)) },
        "Details",
      ),
    );
  }

  function keys(event) {
    const element = event.target.closest(".cell");
    if (!element) return;
    const d = state.index.get(element.dataset.key);
    const visible = (other) => other && drawn.has(keyOf(other));
    const siblings = d.parent ? d.parent.children.filter(visible) : [d];
    const step = (by) => siblings[siblings.indexOf(d) + by];
    const to = {
      ArrowLeft: () => step(-1),
      ArrowRight: () => step(1),
      ArrowUp: () => d.parent,
      ArrowDown: () => d.children && d.children.find(visible),
    }[event.key];
    if (to) {
      event.preventDefault();
      const next = to();
      if (visible(next)) drawn.get(keyOf(next)).focus({ preventScroll: true });
    } else if (event.key === "Escape" && state.focus.parent) {
      event.preventDefault();
      focusOn(state.focus.parent);
    }
  }

  /** Puts a module in focus, from elsewhere on the page. */
  function show(id) {
    byId("structure").scrollIntoView();
    start();
    const d = find(id);
    focusOn(d.children || !d.parent ? d : d.parent);
  }

  return { start, show };
})();
