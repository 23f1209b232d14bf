// Where boxes and edges of the graph go: the members of each open group are laid out by dagre, from the inside out, and
// a long chain goes on in further columns, as the text of a newspaper does.

const layout = (() => {
  const BOX = { height: 44, padding: 14, least: 96, most: 260 };
  const HEAD = 26;
  const MARGIN = 16;
  const PORT = 6;
  const GAP = 56;
  const MOST_CROSSING = 3;
  const TALL = 1000;

  const pen = document.createElement("canvas").getContext("2d");

  /** Width of a text in pixels: of a title, or of the smaller line below it. */
  function measured(line, isTitle) {
    pen.font = `${isTitle ? "600 12.5px" : "11px"} ${getComputedStyle(document.body).fontFamily}`;
    return pen.measureText(line).width;
  }

  /** Width of a box for its lines, as they are drawn. */
  const widthOf = (lines) =>
    Math.max(BOX.least, Math.min(BOX.most, 2 * BOX.padding + d3.max(lines, (line, i) => measured(line, i === 0))));

  /**
   * Positions for everything that is visible.
   *
   * `graph.members(group)` are the items of an open group in order, `graph.links(group)` the edges between them, as
   * [from, to, tensors]; an item with `isPort` stands for the world outside. `aspect` is the width of the window by its
   * height. Returns `{ width, height, items, edges, ports }` in the coordinates of the outermost group; frames come
   * before what is in them. Ports are where edges pass a frame.
   */
  function run(graph, root, aspect) {
    const plan = inColumns(sized(graph, root, aspect), graph.links(root), aspect);
    const found = { width: plan.width, height: plan.height, items: [], edges: [], ports: [] };
    const stack = [[plan, 0, 0]];
    while (stack.length) {
      const [part, dx, dy] = stack.pop();
      const moved = ({ x, y }) => ({ x: x + dx, y: y + dy });
      found.edges.push(...part.edges.map((edge) => ({ ...edge, points: edge.points.map(moved) })));
      for (const { item, plan: inner, width, height, ...at } of part.boxes) {
        const { x, y } = moved(at);
        if (item.isPort) found.ports.push({ x: x + PORT / 2, y: y + PORT / 2 });
        else found.items.push({ item, x, y, width, height, open: Boolean(inner) });
        if (inner) stack.push([inner, x + (width - inner.width) / 2, y + HEAD]);
      }
    }
    return found;
  }

  /** The members of a group with their sizes; open groups among them are laid out first. */
  function sized(graph, group, aspect) {
    return graph.members(group).map((item) => {
      if (item.isPort) return { item, width: PORT, height: PORT, plan: null };
      if (!graph.isOpen(item))
        return { item, width: widthOf(graph.lines(item)) + (item.isGroup ? 18 : 0), height: BOX.height, plan: null };
      const plan = inColumns(sized(graph, item, aspect), graph.links(item), aspect, TALL);
      const width = Math.max(plan.width + 2 * MARGIN, widthOf([graph.title(item)]) + 30);
      return { item, width, height: plan.height + HEAD + MARGIN, plan };
    });
  }

  /** Members laid out by dagre, from top to bottom. */
  function arranged(members, links) {
    const made = new dagre.graphlib.Graph();
    made.setGraph({ rankdir: "TB", nodesep: 22, ranksep: 24, marginx: 0, marginy: 6 });
    for (const member of members) made.setNode(member.item.key, { width: member.width, height: member.height, member });
    for (const [from, to, tensors] of links) made.setEdge(from.key, to.key, { tensors, isOut: to.isPort });
    dagre.layout(made);
    const boxes = made.nodes().map((key) => made.node(key));
    return {
      width: made.graph().width || 0,
      height: made.graph().height || 0,
      boxes: boxes.map(({ x, y, member }) => ({ ...member, x: x - member.width / 2, y: y - member.height / 2 })),
      edges: made
        .edges()
        .map((edge) => made.edge(edge))
        .map(({ points, tensors, isOut }) => ({ points, tensors, isOut })),
    };
  }

  /** One column of members, or, if it is tall, as many as make the picture as wide by high as the window. */
  function inColumns(members, links, aspect, tall = 0) {
    const whole = arranged(members, links);
    if (whole.height <= tall) return whole;
    const wanted = Math.round(Math.sqrt((aspect * whole.height) / Math.max(whole.width, 1)));
    const starts = wanted > 1 ? breaks(members, links, wanted) : [];
    if (!starts.length) return whole;
    const columnOf = new Map(members.map(({ item }, i) => [item, d3.bisectRight(starts, i)]));
    const made = { width: -GAP, height: 0, boxes: [], edges: [] };
    const gaps = [];
    for (const column of d3.range(starts.length + 1)) {
      const own = members.filter(({ item }) => columnOf.get(item) === column);
      const part = arranged(
        own,
        links.filter(([from, to]) => columnOf.get(from) === column && columnOf.get(to) === column),
      );
      const left = made.width + GAP;
      made.boxes.push(...part.boxes.map((box) => ({ ...box, x: box.x + left })));
      made.edges.push(
        ...part.edges.map((edge) => ({ ...edge, points: edge.points.map(({ x, y }) => ({ x: x + left, y })) })),
      );
      made.width = left + part.width;
      made.height = Math.max(made.height, part.height);
      gaps.push(made.width + GAP / 2);
    }
    const boxOf = new Map(made.boxes.map((box) => [box.item, box]));
    const crossing = links.filter(([from, to]) => columnOf.get(from) !== columnOf.get(to));
    made.edges.push(
      ...crossing.map(([from, to, tensors], i) => {
        const shift = 6 * ((i % 5) - 2);
        const points = across(boxOf.get(from), boxOf.get(to), columnOf.get(from), columnOf.get(to), gaps, shift);
        return { points, tensors, isOut: to.isPort, isStraight: true };
      }),
    );
    return made;
  }

  /** From the right side of a box to the left side of one in a later column, through the gaps between columns. */
  function across(a, b, first, last, gaps, shift) {
    const [start, end] = [
      { x: a.x + a.width, y: a.y + a.height / 2 },
      { x: b.x, y: b.y + b.height / 2 },
    ];
    const [out, back] = [gaps[first] + shift, gaps[last - 1] + shift];
    const over =
      last - first > 1
        ? [
            { x: out, y: shift / 2 - 4 },
            { x: back, y: shift / 2 - 4 },
          ]
        : [];
    return [start, { x: out, y: start.y }, ...over, { x: back, y: end.y }, end];
  }

  /** Where new columns begin: near an even split by height, where few edges pass. */
  function breaks(members, links, wanted) {
    const position = new Map(members.map(({ item }, i) => [item, i]));
    const passing = new Array(members.length + 1).fill(0);
    for (const [from, to] of links) for (let i = position.get(from) + 1; i <= position.get(to); i += 1) passing[i] += 1;
    const heights = d3.cumsum(members, ({ height }) => height + 24);
    const whole = heights[heights.length - 1];
    const starts = [];
    for (let column = 1; column < wanted; column += 1) {
      const goal = (whole * column) / wanted;
      const distance = (i) => Math.abs(heights[i - 1] - goal);
      const places = d3
        .range((starts[starts.length - 1] || 0) + 1, members.length)
        .filter((i) => distance(i) <= (0.4 * whole) / wanted && passing[i] >= 1 && passing[i] <= MOST_CROSSING);
      if (places.length) starts.push(d3.least(places, (a, b) => passing[a] - passing[b] || distance(a) - distance(b)));
    }
    return starts;
  }

  return { run };
})();
