// The picture of the graph as SVG: what layout.js placed, with zooming and panning by d3.

/**
 * Draws into `view`. `state` has the metric of colours and whether the reader moved the picture; `title` and `subtitle`
 * are the words of an item; `select`, `toggle` and `press` are called for a click, for opening or closing, for a key.
 */
function graphPicture({ view, state, title, subtitle, select, toggle, press }) {
  const canvas = svg("svg", { class: "canvas", role: "group", "aria-label": "Graph of the model" });
  const arrow = svg(
    "marker",
    { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
    svg("path", { d: "M0,0.5 L8,4 L0,7.5 Z" }),
  );
  const world = svg("g");
  const line = d3
    .line(
      (p) => p.x,
      (p) => p.y,
    )
    .curve(d3.curveBasis);
  let elements = new Map();
  canvas.append(svg("defs", {}, arrow), world);

  const zoom = d3
    .zoom()
    .scaleExtent([0.05, 3])
    .filter((event) => {
      if (event.type === "wheel") return event.ctrlKey || event.metaKey || state.isFull;
      if (event.type === "dblclick") return false;
      if (event.touches) return event.touches.length > 1 || state.isFull;
      return !event.button;
    })
    .on("zoom", ({ transform, sourceEvent }) => {
      state.isMoved = state.isMoved || Boolean(sourceEvent);
      world.setAttribute("transform", transform);
      tip.hide();
    });

  function start() {
    view.replaceChildren(canvas);
    d3.select(canvas).call(zoom);
  }

  function draw(placed) {
    const most = d3.max(placed.items, ({ item, open }) => (open ? 0 : state.metric.of(item)));
    elements = new Map();
    const frames = placed.items.filter((box) => box.open).map((box) => drawFrame(box));
    const arrows = placed.edges.map(drawEdge);
    const ports = placed.ports.map(({ x, y }) => svg("circle", { class: "port", cx: x, cy: y, r: 3 }));
    const closed = placed.items.filter((box) => !box.open).map((box) => drawBox(box, most));
    world.replaceChildren(...frames, ...arrows, ...ports, ...closed);
    byId("graph-legend").replaceChildren(...legend(most));
  }

  function drawEdge({ points, tensors, isOut, isStraight }) {
    const listed = [...tensors];
    const lines = listed.slice(0, 8).map((spec) => `${specText(spec)}, ${shortBytes(num(RAW.specs[spec][1]))}`);
    return svg("path", {
      class: "edge",
      d: isStraight ? rounded(points) : line(points),
      "marker-end": isOut ? null : "url(#arrow)",
      onpointerenter: (event) => tip.show(event, listed.length === 1 ? "Tensor" : `${listed.length} tensors`, lines),
      onpointerleave: () => tip.hide(),
    });
  }

  /** Horizontal and vertical lines with round corners. */
  function rounded(points) {
    const path = d3.path();
    path.moveTo(points[0].x, points[0].y);
    for (let i = 1; i < points.length - 1; i += 1)
      path.arcTo(points[i].x, points[i].y, points[i + 1].x, points[i + 1].y, 8);
    const end = points[points.length - 1];
    path.lineTo(end.x, end.y);
    return path.toString();
  }

  const textAt = (x, y, words, most, name) =>
    svg(
      "text",
      { x, y, class: name },
      words.length > most ? `${words.slice(0, Math.ceil(most / 2) - 1)}…${words.slice(-Math.floor(most / 2))}` : words,
    );

  /** The handle that opens or closes a group. */
  function handle(item, x, y) {
    return svg(
      "g",
      {
        class: "handle",
        transform: `translate(${x},${y})`,
        onclick: (event) => {
          event.stopPropagation();
          toggle(item);
        },
      },
      svg("rect", { width: 18, height: 18, rx: 4 }),
      svg("path", { d: item.isOpen ? "M5,9 H13" : "M5,9 H13 M9,5 V13" }),
    );
  }

  const interactive = (item, extra) => ({
    tabindex: 0,
    role: "button",
    "aria-label": `${title(item)} ${subtitle(item)}${item.isGroup ? (item.isOpen ? ", open" : ", closed") : ""}`,
    onclick: () => select(item),
    ondblclick: () => {
      if (item.isGroup) toggle(item);
    },
    onkeydown: (event) => press(event, item),
    ...extra,
  });

  function drawFrame({ item, x, y, width, height }) {
    const made = svg(
      "g",
      interactive(item, { class: `frame${item.repeats > 1 ? " repeated" : ""}`, transform: `translate(${x},${y})` }),
      svg("rect", { width, height, rx: 8 }),
      handle(item, 5, 5),
      textAt(29, 18, title(item), Math.floor((width - 36) / 6.4), "frame-title"),
    );
    elements.set(item, made);
    return made;
  }

  function drawBox({ item, x, y, width, height }, most) {
    const step = shade(Math.sqrt(state.metric.of(item) / most)); // square roots keep small costs apart
    const kind = item.isGroup ? "group" : NODES[item.node].kind.startsWith("call_") ? "op" : "io";
    const left = item.isGroup ? 30 : 14;
    const room = Math.floor((width - left - 8) / 6.6);
    const made = svg(
      "g",
      interactive(item, { class: `box ${kind} ${shadeClass(step)}`, transform: `translate(${x},${y})` }),
      item.isGroup ? svg("rect", { class: "behind", x: 3, y: 3, width, height, rx: 7 }) : null,
      svg("rect", { class: "body", width, height, rx: kind === "io" ? height / 2 : 7 }),
      item.isGroup ? handle(item, 6, 14) : null,
      textAt(left, 20, title(item), room, "box-title"),
      document.createTextNode(" "),
      textAt(left, 36, subtitle(item), room + 2, "box-sub"),
    );
    elements.set(item, made);
    return made;
  }

  /** The view moves so that an item stays where it was. */
  function keep(before, after) {
    const t = d3.zoomTransform(canvas);
    const by = [before.x - after.x, before.y - after.y];
    d3.select(canvas).call(zoom.transform, t.translate(...by));
  }

  /** All of it on paper, however large that is; a function that puts the view back. */
  function onPaper() {
    const { width, height } = state.placed;
    const [w, h] = [Math.max(width + 24, 1000), Math.max(height + 24, 560)];
    const before = d3.zoomTransform(canvas);
    const isMoved = state.isMoved;
    state.isPrinted = true;
    d3.select(canvas).call(zoom.transform, d3.zoomIdentity);
    canvas.setAttribute("viewBox", `${(width - w) / 2} ${(height - h) / 2} ${w} ${h}`);
    return () => {
      canvas.removeAttribute("viewBox");
      state.isPrinted = false;
      d3.select(canvas).call(zoom.transform, before);
      state.isMoved = isMoved;
    };
  }

  /** Everything in sight if it stays readable, else the top of it. */
  function fit(least = 0.7) {
    if (state.isPrinted) return;
    state.isMoved = false;
    const { width, height } = state.placed;
    const [w, h] = [view.clientWidth, view.clientHeight];
    const whole = Math.min(w / (width + 24), h / (height + 24), 1.1);
    const scale = Math.max(whole, least);
    const x = (w - width * scale) / 2;
    const y = height * scale > h ? 8 : (h - height * scale) / 2;
    d3.select(canvas).call(zoom.transform, d3.zoomIdentity.translate(x, y).scale(scale));
  }

  /** Moves the view so that an item is in the middle of it, not smaller than can be read. */
  function center({ x, y, width, height }) {
    const scale = Math.max(d3.zoomTransform(canvas).k, 0.8);
    const to = d3.zoomIdentity.translate(view.clientWidth / 2, view.clientHeight / 2).scale(scale);
    d3.select(canvas).call(zoom.transform, to.translate(-x - width / 2, -y - height / 2));
  }

  const by = (factor) => d3.select(canvas).call(zoom.scaleBy, factor);
  const focus = (item) => {
    const element = elements.get(item);
    if (element) element.focus({ preventScroll: true });
  };
  const mark = (item) => {
    for (const [other, element] of elements) element.classList.toggle("chosen", other === item);
  };
  function legend(most) {
    if (!most) return [];
    const steps = d3.range(STEPS).map((step) => el("span", { class: `shade s${step}` }));
    return [el("span", {}, "0"), ...steps, el("span", {}, short(most, state.metric.unit))];
  }

  return { start, draw, keep, center, fit, onPaper, by, focus, mark };
}
