// Boxes within boxes: items, or kernels, grouped by module. A group is folded into one box, or a
// frame around its own layered drawing.

const BOX_W = 180, BOX_H = 48, FRAME = 14, FRAME_TOP = 34, BETWEEN = 64;
const LANES = ["forward", "backward", "update"];

// things: [{id, path: [names], part, reads: [ids]}], each after what it reads. Returns a tree:
// {name, key, things, children} whose leaves are things. Things of one module are in one group,
// unless a path leads out of it and in again: then what comes after is in a group of its own, so
// that groups among themselves have no cycles either. A module that is used several times has a
// group for each use; `use` says which of those of the forward part a thing reads.
function grouped(things, depth = 0, prefix = "", use = () => null) {
  const groups = [], of = new Map(), current = new Map(), known = new Map(things.map((t) => [t.id, t]));
  const seen = new Map(); // how many groups of a name there are
  for (const t of things) {
    const name = t.path[depth];
    const from = unique(t.reads.filter((r) => known.has(r)).map((r) => of.get(r)));
    const hint = name === undefined ? null : use(t, name);
    const fits = (g) => g && g.name === name && (!hint || !g.hint || g.hint === hint) && !from.some((h) => h !== g && reaches(g, h));
    let group = name === undefined ? null : [...from, current.get(hint), current.get(name)].find(fits);
    if (!group) {
      const count = (seen.get(name) || 0) + 1;
      seen.set(name, count);
      group = { name, things: [], after: new Set(), key: name === undefined ? `${prefix}#${t.id}` : `${prefix}/${name}${count > 1 ? `~${count}` : ""}` };
      groups.push(group);
    }
    if (hint) { group.hint ||= hint; current.set(hint, group); }
    if (name !== undefined) current.set(name, group);
    group.things.push(t);
    of.set(t.id, group);
    from.forEach((g) => { if (g !== group) g.after.add(group); });
  }
  return groups.map((g) => {
    if (g.name === undefined) return leaf(g.things[0]);
    const children = grouped(g.things, depth + 1, g.key);
    if (children.length === 1) return { ...children[0], name: children[0].name ? `${g.name}.${children[0].name}` : g.name };
    return { name: g.name, key: g.key, things: g.things, children };
  });
}

const leaf = (t) => ({ key: `#${t.id}`, things: [t], thing: t, name: "" });

// Whether a path leads from one group to another.
function reaches(from, to) {
  const stack = [from], seen = new Set();
  while (stack.length) {
    const g = stack.pop();
    if (g === to) return true;
    for (const next of g.after) if (!seen.has(next)) { seen.add(next); stack.push(next); }
  }
  return false;
}

// -- what is to be drawn --------------------------------------------------------------------------

// Draws trees side by side, one for each part of a training step; `open` has the keys of groups
// that are unfolded. Returns {boxes, frames, edges, lanes, width, height}.
function drawn(things, open) {
  const lanes = trees(things);
  const out = { boxes: [], frames: [], edges: [], lanes: [], width: 0, height: 0 };
  const owner = new Map(); // the chain of drawn nodes around each thing, outermost first
  for (const lane of lanes) {
    lane.open = true;
    trace(lane, open, [lane], owner);
  }
  const { inside, across } = visibleEdges(things, owner);
  for (const lane of lanes) arrange(lane, inside);
  beside(lanes);
  let x = 0;
  for (const lane of lanes) {
    lane.x = x;
    lane.y = lanes.length > 1 ? 40 : 0;
    emit(lane, 0, 0, out);
    out.lanes.push({ part: lane.part, x, width: lane.w });
    x += lane.w + BETWEEN;
    out.height = Math.max(out.height, lane.h + lane.y);
  }
  out.width = x - BETWEEN;
  for (const { from, to } of across) out.edges.push(sideways(from, to));
  return out;
}

// The tree of each part.
function trees(things) {
  const uses = new Map();
  const use = (t, name) => t.reads.map((r) => uses.get(r)).find((g) => g && g.thing0.path[0] === name)?.key;
  return LANES.map((part) => {
    const children = grouped(things.filter((t) => t.part === part), 0, part, part === "backward" ? use : undefined);
    if (part === "forward") children.forEach((c) => c.things.forEach((t) => uses.set(t.id, { key: c.key, thing0: t })));
    return { part, children };
  }).filter((lane) => lane.children.length);
}

function trace(node, open, chainOf, owner) {
  for (const child of node.children) {
    child.open = Boolean(child.children) && open.has(child.key);
    const here = [...chainOf, child];
    if (child.open) trace(child, open, here, owner);
    else child.things.forEach((t) => owner.set(t.id, here));
  }
}

// Edges between what is visible, each once: those within a lane by the frame that they are in, as
// steps from a child, or a port, of the frame to another; and those from lane to lane.
function visibleEdges(things, owner) {
  const inside = new Map(), across = [], seen = new Set();
  for (const t of things) {
    const to = owner.get(t.id);
    for (const r of t.reads) {
      const from = owner.get(r);
      if (!from || !to || from.at(-1) === to.at(-1)) continue;
      const key = `${from.at(-1).key}>${to.at(-1).key}`;
      if (seen.has(key)) continue;
      seen.add(key);
      if (from[0] !== to[0]) across.push({ from: from.at(-1), to: to.at(-1) });
      else steps(from, to, inside);
    }
  }
  return { inside, across };
}

function steps(from, to, inside) {
  let split = 0;
  while (from[split + 1] === to[split + 1]) split += 1;
  const source = from.at(-1), target = to.at(-1), out = `out ${source.key}`, into = `in ${source.key}`;
  const add = (frame, a, b) => {
    if (!inside.has(frame)) inside.set(frame, new Map());
    const at = inside.get(frame), key = `${a.child?.key} ${a.port}>${b.child?.key} ${b.port}`;
    if (!at.has(key)) at.set(key, { a, b, source, targets: new Set() });
    at.get(key).targets.add(target);
  };
  const leaving = (k) => ({ child: from[k], port: k < from.length - 1 ? out : null });
  const entering = (k) => ({ child: to[k], port: k < to.length - 1 ? into : null });
  for (let k = from.length - 1; k > split + 1; k--) add(from[k - 1], leaving(k), { port: out });
  add(from[split], leaving(split + 1), entering(split + 1));
  for (let k = split + 2; k < to.length; k++) add(to[k - 1], { port: into }, entering(k));
}

// -- sizes and places -----------------------------------------------------------------------------

// Lays out a lane or frame from the inside: its children's sizes, then their places in it.
function arrange(node, inside) {
  for (const child of node.children) {
    if (child.open) arrange(child, inside);
    else Object.assign(child, { w: BOX_W, h: BOX_H });
  }
  const nodes = node.children.map((c) => ({ w: c.w, h: c.h })), at = new Map(node.children.map((c, k) => [c, k]));
  node.ports = new Map();
  const wires = [...(inside.get(node) || new Map()).values()];
  const number = ({ child, port }) => {
    if (child) return at.get(child);
    if (!at.has(port)) {
      at.set(port, nodes.length);
      nodes.push({ w: 10, h: 0, top: port.startsWith("in "), bottom: port.startsWith("out ") });
      node.ports.set(port, nodes.at(-1));
    }
    return at.get(port);
  };
  const pairs = wires.map((w) => [number(w.a), number(w.b)]);
  const made = layered(nodes, pairs);
  node.children.forEach((c, k) => Object.assign(c, { x: nodes[k].x, y: nodes[k].y, rank: nodes[k].rank }));
  Object.assign(node, { inner: made, wires: wires.map((w, k) => ({ ...w, bends: made.bends[k] })) });
  node.w = made.width + (node.key ? 2 * FRAME : 0);
  node.h = made.height + (node.key ? FRAME + FRAME_TOP : 0);
}

// Each layer's backward part beside its forward part: the backward lane runs upwards.
function beside(lanes) {
  const [forward, ...others] = lanes;
  if (!others.length || forward.part !== "forward") return;
  for (const lane of others) {
    if (lane.part === "backward") turn(lane);
    if (lane.part === "update") stack(lane);
  }
  for (const lane of others) align(lane, twins(lane, [forward]));
  align(forward, twins(forward, others.filter((l) => l.part === "backward")));
  for (const lane of others) align(lane, twins(lane, [forward]));
}

// For each box of a lane the one of the same module in others: the first for the first, and so on.
function twins(lane, others) {
  const named = (children) => {
    const found = new Map();
    [...children].sort((a, b) => a.y - b.y).forEach((c) => { if (c.name) pushed(found, c.things[0].path[0], c); });
    return found;
  };
  const mine = named(lane.children), theirs = named(others.flatMap((l) => l.children)), found = new Map();
  for (const [name, boxes] of mine) {
    const alike = theirs.get(name) || [];
    if (lane.part === "update" || alike.length === boxes.length) boxes.forEach((c, k) => { if (alike[k]) found.set(c, alike[k]); });
  }
  return found;
}

// Upside down: what comes first is at the bottom.
function turn(node) {
  const h = node.inner.height;
  node.children.forEach((c) => { c.y = h - c.y - c.h; if (c.open) turn(c); });
  node.wires.forEach((w) => { w.bends = w.bends.map(([x, top, bottom]) => [x, h - top, h - bottom]); w.up = true; });
}

// Updates depend on each other in nothing: one below the other.
function stack(lane) {
  lane.children.forEach((c, k) => { c.x = 0; c.y = k * (BOX_H + GAP_Y); });
  lane.wires = [];
  lane.w = Math.max(...lane.children.map((c) => c.w));
}

// Moves the rows of a lane down to where their twins are.
function align(lane, beside) {
  const rows = new Map();
  lane.children.forEach((c) => pushed(rows, lane.part === "update" ? c.key : c.rank, c));
  const wanted = (row) => {
    const found = row.map((c) => beside.get(c)).filter(Boolean).map((t) => t.y);
    return found.length ? Math.min(...found) : -1;
  };
  let y = 0;
  const moved = [];
  let ordered = [...rows.values()];
  if (lane.part === "update") ordered.sort((a, b) => (wanted(a) + 1 || 1e9) - (wanted(b) + 1 || 1e9));
  else ordered.sort((a, b) => a[0].y - b[0].y);
  for (const row of ordered) {
    const top = Math.min(...row.map((c) => c.y)), target = Math.max(y, wanted(row), lane.part === "update" ? 0 : top);
    moved.push([top, target - top]);
    row.forEach((c) => { c.y += target - top; });
    y = Math.max(...row.map((c) => c.y + c.h)) + GAP_Y;
  }
  moved.sort((a, b) => a[0] - b[0]);
  const shift = (at) => { let by = 0; for (const [top, delta] of moved) if (top <= at + 1) by = delta; return by; };
  lane.wires.forEach((w) => { w.bends = w.bends.map(([x, a, b]) => [x, a + shift(Math.min(a, b)), b + shift(Math.min(a, b))]); });
  lane.h = Math.max(...lane.children.map((c) => c.y + c.h));
}

// -- places on the canvas ---------------------------------------------------------------------------

function emit(node, x0, y0, out) {
  const x = x0 + node.x, y = y0 + node.y, dx = x + (node.key ? FRAME : 0), dy = y + (node.key ? FRAME_TOP : 0);
  for (const child of node.children) {
    if (child.open) {
      emit(child, dx, dy, out);
      out.frames.push(Object.assign(child, { X: dx + child.x, Y: dy + child.y }));
    } else out.boxes.push(Object.assign(child, { X: dx + child.x, Y: dy + child.y }));
  }
  for (const w of node.wires) {
    const from = end(node, w, 0, dx, dy), to = end(node, w, 1, dx, dy);
    const points = [[from[0], from[1]]];
    w.bends.forEach(([bx, top, bottom]) => points.push([dx + bx, dy + top], [dx + bx, dy + bottom]));
    points.push([to[0], to[1]]);
    out.edges.push({ source: w.source, targets: [...w.targets], path: smooth(points), points });
  }
}

// Where a wire begins or ends: at the middle of a box, at the port of a frame.
function end(node, wire, side, dx, dy) {
  const { child, port } = side ? wire.b : wire.a;
  const low = (side === 0) !== Boolean(wire.up);
  if (!child) {
    const { x, w } = node.ports.get(port);
    return [dx + x + w / 2, low ? dy - FRAME_TOP : dy + node.inner.height + FRAME];
  }
  let x = child.x + child.w / 2;
  const inner = child.open && child.ports.get(port);
  if (inner) x = child.x + FRAME + inner.x + inner.w / 2;
  return [dx + x, dy + child.y + (low ? child.h : 0)];
}

// A path through points, vertical where it turns.
function smooth(points) {
  let path = `M${points[0].map(Math.round).join(" ")}`;
  for (let k = 1; k < points.length; k++) {
    const [x0, y0] = points[k - 1], [x, y] = points[k];
    if (Math.abs(x - x0) < 1) path += `L${Math.round(x)} ${Math.round(y)}`;
    else path += `C${Math.round(x0)} ${Math.round((y0 + y) / 2)} ${Math.round(x)} ${Math.round((y0 + y) / 2)} ${Math.round(x)} ${Math.round(y)}`;
  }
  return path;
}

// From lane to lane.
function sideways(from, to) {
  const right = to.X > from.X;
  const x0 = from.X + (right ? from.w : 0), x1 = to.X + (right ? 0 : to.w);
  const y0 = from.Y + from.h / 2, y1 = to.Y + to.h / 2, m = (x0 + x1) / 2;
  const path = `M${Math.round(x0)} ${Math.round(y0)}C${Math.round(m)} ${Math.round(y0)} ${Math.round(m)} ${Math.round(y1)} ${Math.round(x1)} ${Math.round(y1)}`;
  return { source: from, targets: [to], path, across: true, points: [[x0, y0], [x1, y1]] };
}
