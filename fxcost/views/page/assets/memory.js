// Bytes alive over the forward pass, and over the training step if there is one.

const memory = (() => {
  const MARGIN = { top: 26, right: 16, bottom: 30, left: 78 };
  const view = byId("memory-view");
  const state = { pass: RAW.memory[0], whole: true, at: null };

  function start() {
    segments(
      byId("memory-pass"),
      RAW.memory.map(({ name }) => ({ key: name, label: name })),
      state.pass.name,
      (key) => {
        state.pass = RAW.memory.find(({ name }) => name === key);
        state.at = null;
        draw();
      },
    );
    const views = [
      { key: "all", label: "Everything" },
      { key: "live", label: "Only what comes and goes" },
    ];
    segments(byId("memory-what"), views, "all", (key) => {
      state.whole = key === "all";
      draw();
    });
    draw();
    onResize(view, draw);
  }

  /** Ticks at round binary sizes. */
  function byteTicks(most) {
    const unit = 2 ** (10 * Math.floor(Math.log2(Math.max(most, 1)) / 10));
    const step = d3.tickStep(0, most / unit, 4);
    return d3.range(0, most / unit + step / 2, step).map((n) => n * unit);
  }
  const tickLabel = (n) =>
    shortBytes(n)
      .replace(/\.00 /, " ")
      .replace(/(\.\d)0 /, "$1 ");

  function draw() {
    const { columns, count, resident, live, backward, unit } = state.pass;
    const points = columns.map(([at, bytes]) => ({ at, bytes: num(bytes) }));
    const floor = state.whole ? d3.sum(resident, ([, bytes]) => num(bytes)) : 0;
    const width = view.clientWidth;
    const height = width < 560 ? 220 : 280;
    const most = floor + d3.max(points, (p) => p.bytes) || 1;
    const x = d3.scaleLinear([0, Math.max(count, 1)], [MARGIN.left, width - MARGIN.right]);
    const y = d3.scaleLinear([0, most * 1.06], [height - MARGIN.bottom, MARGIN.top]);
    const steps = [...points, { at: count, bytes: points.length ? points[points.length - 1].bytes : 0 }];
    const area = d3
      .area(
        (p) => x(p.at),
        y(floor),
        (p) => y(floor + p.bytes),
      )
      .curve(d3.curveStepAfter);
    const peak = d3.greatest(points, (p) => p.bytes);
    const canvas = svg(
      "svg",
      {
        class: "timeline",
        viewBox: `0 0 ${width} ${height}`,
        width,
        height,
        tabindex: 0,
        role: "img",
        "aria-label": `Live bytes over ${exact(count)} ${unit}s; at most ${shortBytes(most)}. Arrow keys read them out.`,
      },
      byteTicks(most).map((n) =>
        svg(
          "g",
          { class: "tick" },
          svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(n), y2: y(n) }),
          svg("text", { x: MARGIN.left - 8, y: y(n) + 4, "text-anchor": "end" }, tickLabel(n)),
        ),
      ),
      x
        .ticks(width < 560 ? 4 : 8)
        .filter(Number.isInteger)
        .map((n) => svg("text", { class: "axis", x: x(n), y: height - 10, "text-anchor": "middle" }, exact(n))),
      svg("rect", {
        class: "floor",
        x: MARGIN.left,
        width: Math.max(0, width - MARGIN.left - MARGIN.right),
        y: y(floor),
        height: y(0) - y(floor),
      }),
      svg("path", { class: "live", d: area(steps) }),
      svg("path", { class: "live-line", d: area.lineY1()(steps) }),
      backward === null ? null : divider(x(backward), height),
      peak ? peakMark(x, y, peak, floor, width) : null,
    );
    const cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: height - MARGIN.bottom, visibility: "hidden" });
    canvas.append(cursor);
    listen(canvas, cursor, points, x, floor);
    view.replaceChildren(
      canvas,
      legend(resident, floor, live, peak, unit),
      el("p", { class: "unseen", role: "status", id: "memory-said" }),
    );
  }

  function divider(at, height) {
    return svg(
      "g",
      { class: "divider" },
      svg("line", { x1: at, x2: at, y1: MARGIN.top - 10, y2: height - MARGIN.bottom }),
      svg("text", { x: at + 5, y: MARGIN.top - 4 }, "backward"),
    );
  }

  function peakMark(x, y, peak, floor, width) {
    const [px, py] = [x(peak.at), y(floor + peak.bytes)];
    const isRight = px > width / 2;
    return svg(
      "g",
      { class: "peak" },
      svg("circle", { cx: px, cy: py, r: 4 }),
      svg(
        "text",
        { x: px + (isRight ? -8 : 8), y: py - 6, "text-anchor": isRight ? "end" : "start" },
        `peak ${shortBytes(floor + peak.bytes)}`,
      ),
    );
  }

  function legend(resident, floor, live, peak, unit) {
    const parts = resident
      .filter(([, bytes]) => num(bytes))
      .map(([name, bytes]) => `${name} ${shortBytes(num(bytes))}`);
    return el(
      "p",
      { class: "keys" },
      state.whole
        ? el(
            "span",
            { class: "key floor" },
            `there all the time: ${shortBytes(floor)}${parts.length ? ` (${parts.join(", ")})` : ""}`,
          )
        : null,
      el("span", { class: "key live" }, `${live}: ${shortBytes(peak ? peak.bytes : 0)} at most`),
      el("span", { class: "dim" }, `across: ${unit}s in order`),
    );
  }

  /** What a column says: the node where there is one, and the bytes. */
  function describe({ at, bytes }, floor) {
    const isNode = state.pass.unit === "node";
    const node = isNode ? NODES[at] : null;
    const where = node
      ? node.name
      : `operator ${exact(at)}${state.pass.backward !== null && at >= state.pass.backward ? " (backward)" : ""}`;
    return [
      where,
      [
        node && MODULES[node.module].name !== node.name ? MODULES[node.module].name : "",
        `${shortBytes(bytes)} of ${state.pass.live}`,
        floor ? `${shortBytes(floor + bytes)} in all` : "",
      ].filter(Boolean),
    ];
  }

  function listen(canvas, cursor, points, x, floor) {
    const nearest = d3.bisector((p) => p.at).right;
    const show = (i, event) => {
      state.at = Math.max(0, Math.min(points.length - 1, i));
      const point = points[state.at];
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(point.at));
      cursor.setAttribute("visibility", "visible");
      const [where, lines] = describe(point, floor);
      const box = canvas.getBoundingClientRect();
      tip.show(event || { clientX: box.left + x(point.at), clientY: box.top + 30 }, where, lines);
      if (!event) byId("memory-said").textContent = [where, ...lines].join(", ");
    };
    const leave = () => {
      cursor.setAttribute("visibility", "hidden");
      tip.hide();
    };
    const open = () => {
      if (state.at !== null && state.pass.unit === "node") details.node(points[state.at].at);
    };
    canvas.addEventListener("pointermove", (event) => {
      const at = x.invert(event.clientX - canvas.getBoundingClientRect().left);
      show(nearest(points, at) - 1, event);
    });
    canvas.addEventListener("pointerleave", leave);
    canvas.addEventListener("blur", leave);
    canvas.addEventListener("click", open);
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1, PageDown: 20, PageUp: -20 }[event.key];
      if (by) show((state.at === null ? -1 : state.at) + by);
      else if (event.key === "Enter") open();
      else return;
      event.preventDefault();
    });
  }

  return { start };
})();
