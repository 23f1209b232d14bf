// The graph: modules that open and close, coloured by cost. What is open decides what is laid out.

const graph = (() => {
  const FIRST_BOXES = 28;
  const MOST_BOXES = 400;
  const view = byId("graph-view");
  const METRIC_KEYS = ["flops", "macs", "bytes", "activations", ...(RAW.hasSaved ? ["saved"] : [])];
  const metrics = METRIC_KEYS.map(metricOf);
  const state = { metric: metrics[0], placed: null, isMoved: false, isFull: false };

  // The tree of groups and boxes --------------------------------------------------------------------------------------

  const groups = RAW.graph.groups.map(([parent, name, type, module, repeats, cost, saved], id) => ({
    key: `g${id}`,
    isGroup: true,
    parent,
    name,
    type,
    module,
    repeats,
    cost: costAt(cost),
    saved: num(saved),
    members: [],
    isOpen: false,
  }));
  const boxes = RAW.graph.boxes.map(([group, node, name, type, times, cost, saved], id) => ({
    key: `b${id}`,
    isGroup: false,
    first: id,
    parent: group,
    node,
    name,
    type,
    times,
    cost: costAt(cost),
    saved: num(saved),
  }));
  groups.forEach((group) => {
    if (group.parent >= 0) groups[group.parent].members.push(group);
  });
  boxes.forEach((box) => groups[box.parent].members.push(box));
  for (let i = groups.length - 1; i >= 0; i -= 1) groups[i].first = d3.min(groups[i].members, (item) => item.first);
  for (const group of groups) group.members.sort((a, b) => a.first - b.first);
  const [root] = groups;
  root.isOpen = true;

  const title = (item) => {
    const times = item.isGroup ? item.repeats : item.times;
    return [item.name, item.type, times > 1 ? `×${times}` : ""].filter(Boolean).join("  ");
  };

  function subtitle(item) {
    const value = state.metric.of(item);
    if (value) {
      const { unit, label, of } = state.metric;
      return `${short(value, unit)}${unit === "bytes" ? "" : ` ${label}`} · ${percent(value, of(root))}`;
    }
    if (item.isGroup) return `no ${state.metric.label}`;
    const { outputs } = NODES[item.node];
    return outputs.length ? specText(outputs[0]) : "";
  }

  /** The outermost closed group around an item, or the item itself. */
  function visible(item) {
    let seen = item;
    for (let at = item; at.parent >= 0; at = groups[at.parent]) if (!groups[at.parent].isOpen) seen = groups[at.parent];
    return seen;
  }

  const isVisible = (group) => {
    for (let at = group; at.parent >= 0; at = groups[at.parent]) if (!groups[at.parent].isOpen) return false;
    return true;
  };

  const IN = { key: "in", isPort: true };
  const OUT = { key: "out", isPort: true };

  /** Edges by the group in which they run: between two members, or from or to a port, the outside of it. */
  function links() {
    const found = new Map(groups.map((group) => [group, new Map()]));
    const add = (group, from, to, tensors) => {
      const key = `${from.key}>${to.key}`;
      const known = found.get(group).get(key);
      if (known) tensors.forEach((tensor) => known[2].add(tensor));
      else found.get(group).set(key, [from, to, new Set(tensors)]);
    };
    for (const [a, b, tensors] of RAW.graph.edges) {
      const [from, to] = [visible(boxes[a]), visible(boxes[b])];
      if (from !== to) lift(from, to, tensors, add);
    }
    return found;
  }

  /** From box to box: out of the frames around the first, across, and into those around the second. */
  function lift(from, to, tensors, add) {
    const around = new Set();
    for (let at = groups[from.parent]; at; at = groups[at.parent]) around.add(at);
    let common = groups[to.parent];
    while (!around.has(common)) common = groups[common.parent];
    let [a, b] = [from, to];
    for (let at = groups[a.parent]; at !== common; [a, at] = [at, groups[at.parent]]) add(at, a, OUT, tensors);
    for (let at = groups[b.parent]; at !== common; [b, at] = [at, groups[at.parent]]) add(at, IN, b, tensors);
    add(common, a, b, tensors);
  }

  const countVisible = () => boxes.reduce((seen, box) => seen.add(visible(box)), new Set()).size;

  // Opening and closing -----------------------------------------------------------------------------------------------

  /** Opens the next level of everything visible if the picture stays readable; true if something was opened. */
  function deeper(most) {
    const closed = groups.filter((group) => !group.isOpen && isVisible(group));
    let room = most - countVisible();
    let opened = false;
    for (const group of closed) {
      if (group.members.length - 1 > room) continue;
      group.isOpen = true;
      room -= group.members.length - 1;
      opened = true;
    }
    return opened;
  }

  function firstLevels() {
    for (;;) {
      const closed = groups.filter((group) => !group.isOpen && isVisible(group));
      const size = countVisible() + d3.sum(closed, (group) => group.members.length - 1);
      if (!closed.length || size > FIRST_BOXES) return;
      closed.forEach((group) => {
        group.isOpen = true;
      });
    }
  }

  function toggle(group) {
    const before = state.placed.items.find(({ item }) => item === group);
    group.isOpen = !group.isOpen;
    state.isMoved = true;
    draw();
    const after = state.placed.items.find(({ item }) => item === group);
    if (before && after) picture.keep(before, after);
    picture.focus(group);
  }

  function draw() {
    const between = links();
    const linksOf = (group) => [...between.get(group).values()];
    const plan = {
      members: (group) => {
        const ends = new Set(linksOf(group).flat());
        return [...(ends.has(IN) ? [IN] : []), ...group.members, ...(ends.has(OUT) ? [OUT] : [])];
      },
      links: linksOf,
      isOpen: (item) => item.isGroup && item.isOpen,
      title,
      lines: (item) => [title(item), subtitle(item)],
    };
    state.placed = layout.run(plan, root, view.clientWidth / view.clientHeight);
    picture.draw(state.placed);
  }

  const picture = graphPicture({ view, state, title, subtitle, select, toggle, press });

  function select(item) {
    picture.mark(item);
    if (!item.isGroup) details.node(item.node);
    else if (item.module >= 0)
      details.module(item.module, item.repeats > 1 ? `${item.repeats} alike: ${title(item)}` : null);
    else part(item);
  }

  /** Details of a frame that is no module: a pattern that repeats, or a part of a long sequence. */
  function part(item) {
    details.open(
      details.heading(
        "Part of the graph",
        item.name || "Pattern",
        item.repeats > 1 ? `repeated ${item.repeats} times` : "",
      ),
      details.facts([["Members", String(item.members.length)]]),
      el("h3", {}, "Cost"),
      details.costTable(item.cost),
    );
  }

  function press(event, item) {
    if (event.target !== event.currentTarget) return;
    if (event.key === "Enter") select(item);
    else if (item.isGroup && (event.key === " " || event.key === "+" || event.key === "-")) toggle(item);
    else return;
    event.preventDefault();
  }

  // Search ------------------------------------------------------------------------------------------------------------

  const found = { text: "", items: [], at: -1 };

  const namesOf = (item) => {
    const full = item.isGroup ? (item.module >= 0 ? MODULES[item.module].name : "") : NODES[item.node].name;
    const target = item.isGroup ? "" : NODES[item.node].target;
    return `${item.name} ${item.type} ${full} ${target}`.toLowerCase();
  };

  /** All groups and boxes with every word of a text, in order of execution; the first is shown. */
  function search(words) {
    const terms = words.toLowerCase().split(/\s+/).filter(Boolean);
    const all = [...groups.slice(1), ...boxes].sort((a, b) => a.first - b.first);
    found.items = terms.length ? all.filter((item) => terms.every((term) => namesOf(item).includes(term))) : [];
    found.at = -1;
    next(1, terms.length > 0);
  }

  /** The next of what was found: what is around it opens, and it moves into the middle. */
  function next(step, isSearched = true) {
    const { items } = found;
    const count = byId("graph-count");
    count.textContent = isSearched ? "Nothing found" : "";
    picture.mark(null);
    if (!items.length) return;
    found.at = (found.at + step + items.length) % items.length;
    const item = items[found.at];
    count.textContent = `${exact(found.at + 1)} of ${exact(items.length)}`;
    for (let at = item; at.parent >= 0; at = groups[at.parent]) groups[at.parent].isOpen = true;
    state.isMoved = true;
    draw();
    const place = state.placed.items.find((placed) => placed.item === item);
    if (place) picture.center(place);
    picture.mark(item);
  }

  function start() {
    picture.start();
    firstLevels();
    segments(byId("graph-metric"), metrics, state.metric.key, (key) => {
      state.metric = metricOf(key);
      draw();
    });
    const actions = {
      deeper: () => {
        deeper(MOST_BOXES);
        draw();
        picture.fit();
      },
      close: () => {
        groups.forEach((group) => {
          group.isOpen = group === root;
        });
        draw();
        picture.fit();
      },
      in: () => picture.by(1.3),
      out: () => picture.by(1 / 1.3),
      fit: () => picture.fit(0.05),
      full: fullPage,
    };
    for (const [name, act] of Object.entries(actions)) byId(`graph-${name}`).addEventListener("click", act);
    const field = byId("graph-search");
    field.addEventListener("input", () => search(field.value));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") next(event.shiftKey ? -1 : 1);
    });
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && state.isFull && !event.defaultPrevented) fullPage();
    });
    draw();
    picture.fit();
    onResize(view, () => {
      if (!state.isMoved) picture.fit();
    });
  }

  function fullPage() {
    const section = byId("graph");
    const isFull = section.classList.toggle("full");
    state.isFull = isFull;
    document.body.classList.toggle("locked", isFull);
    byId("graph-full").setAttribute("aria-pressed", isFull);
    byId("graph-full").textContent = isFull ? "Leave full page (Esc)" : "Full page";
    picture.fit();
  }

  return { start, onPaper: () => picture.onPaper() };
})();
