// Graphs drawn in layers, from top to bottom: Sugiyama, Tagawa, Toda, "Methods for visual
// understanding of hierarchical system structures", 1981, with the steps as in Gansner, Koutsofios,
// North, Vo, "A technique for drawing directed graphs", 1993: ranks, order within ranks by what
// neighbours are in the mean, coordinates. Coordinates of a rank are the closest ones to those
// wanted that keep distances: isotonic regression, by pooling adjacent violators.

const GAP_X = 22, GAP_Y = 30, MOST_BENDS = 20000;

// nodes: [{w, h, top, bottom}] (top and bottom: kept in the first or last rank); edges: [[a, b]],
// acyclic. Sets x, y (of the upper left corner) of every node; returns {width, height, bends,
// ranks}, where bends are the points that each edge goes through between its ends.
function layered(nodes, edges) {
  if (!nodes.length) return { width: 0, height: 0, bends: [], ranks: [] };
  const rank = ranked(nodes, edges);
  const all = nodes.map((n, k) => ({ w: n.w, h: n.h, rank: rank[k], up: [], down: [], real: true }));
  const chains = edges.map(([a, b]) => chain(all, a, b, rank));
  const ranks = [];
  all.forEach((v, k) => (ranks[v.rank] ||= []).push(k));
  for (let r = 0; r < ranks.length; r++) ranks[r] ||= [];
  order(all, ranks);
  const width = place(all, ranks);
  let y = 0;
  const tops = ranks.map((r) => {
    const height = Math.max(0, ...r.map((k) => all[k].h)), top = y;
    r.forEach((k) => { all[k].y = top + (height - all[k].h) / 2; });
    y += height + GAP_Y;
    return { top, height };
  });
  nodes.forEach((n, k) => { n.x = all[k].x; n.y = all[k].y; n.rank = rank[k]; });
  const bends = chains.map((c) => c.map((k) => [all[k].x + all[k].w / 2, tops[all[k].rank].top, tops[all[k].rank].top + tops[all[k].rank].height]));
  return { width, height: y - GAP_Y, bends, ranks: tops };
}

// Longest paths from above; then nodes that feed more than they read move down to their readers.
function ranked(nodes, edges) {
  const outs = nodes.map(() => []), ins = nodes.map(() => []), rank = nodes.map(() => 0);
  edges.forEach(([a, b]) => { outs[a].push(b); ins[b].push(a); });
  const waits = ins.map((i) => i.length), ready = nodes.map((_, k) => k).filter((k) => !waits[k]), sorted = [];
  while (ready.length) {
    const k = ready.pop();
    sorted.push(k);
    for (const o of outs[k]) { rank[o] = Math.max(rank[o], rank[k] + 1); if (!--waits[o]) ready.push(o); }
  }
  for (const k of sorted.reverse()) {
    if (outs[k].length && ins[k].length <= outs[k].length && !nodes[k].top) {
      rank[k] = Math.max(rank[k], Math.min(...outs[k].map((o) => rank[o])) - 1);
    }
  }
  // where edges enter and leave a frame
  if (nodes.some((n) => n.top)) nodes.forEach((n, k) => { if (!n.top) rank[k] += rank[k] ? 0 : 1; });
  const last = Math.max(0, ...rank.filter((_, k) => !nodes[k].bottom));
  nodes.forEach((n, k) => { if (n.bottom) rank[k] = last + 1; });
  return rank;
}

// An edge over several ranks becomes a chain of points, one in each rank between.
function chain(all, a, b, rank) {
  const points = [], long = rank[b] - rank[a];
  let from = a;
  if (all.length < MOST_BENDS) {
    for (let r = rank[a] + 1; r < rank[b]; r++) {
      all.push({ w: 8, h: 0, rank: r, up: [], down: [], real: false });
      points.push(all.length - 1);
    }
  } else if (long > 1) return points;
  for (const to of [...points, b]) {
    const weight = all[from].real ? (all[to].real ? 1 : 2) : all[to].real ? 2 : 8;
    all[from].down.push([to, weight]);
    all[to].up.push([from, weight]);
    from = to;
  }
  return points;
}

// The order within ranks, swept down and up; the order with the fewest crossings is kept.
function order(all, ranks) {
  const position = new Float64Array(all.length);
  const number = (r) => r.forEach((k, i) => { position[k] = i; });
  depthFirst(all, ranks);
  ranks.forEach(number);
  const sweeps = all.length > 3000 ? 4 : 16;
  let best = crossings(all, ranks, position), kept = ranks.map((r) => [...r]);
  for (let s = 0; s < sweeps && best > 0; s++) {
    const down = s % 2 === 0;
    for (const r of down ? ranks : [...ranks].reverse()) {
      const wanted = new Map(r.map((k) => [k, mean(down ? all[k].up : all[k].down, position, position[k])]));
      r.sort((a, b) => wanted.get(a) - wanted.get(b) || position[a] - position[b]);
      number(r);
    }
    const now = crossings(all, ranks, position);
    if (now < best) { best = now; kept = ranks.map((r) => [...r]); }
  }
  kept.forEach((r, k) => { ranks[k] = r; });
}

function depthFirst(all, ranks) {
  const seen = new Uint8Array(all.length), found = ranks.map(() => []);
  for (const start of ranks.flat()) {
    const stack = [start];
    while (stack.length) {
      const k = stack.pop();
      if (seen[k]) continue;
      seen[k] = 1;
      found[all[k].rank].push(k);
      for (let i = all[k].down.length - 1; i >= 0; i--) stack.push(all[k].down[i][0]);
    }
  }
  found.forEach((r, k) => { ranks[k] = r; });
}

function mean(neighbours, position, otherwise) {
  if (!neighbours.length) return otherwise;
  return sum(neighbours.map(([k]) => position[k])) / neighbours.length;
}

// Crossings between neighbouring ranks: inversions, counted with a tree of partial sums.
function crossings(all, ranks, position) {
  let total = 0;
  for (const r of ranks) {
    const ends = r.flatMap((k) => all[k].down.map(([o]) => position[o]).sort((a, b) => a - b));
    const size = Math.max(0, ...ends) + 2, tree = new Int32Array(size + 1);
    ends.forEach((end, seen) => {
      let before = 0;
      for (let i = end + 1; i > 0; i -= i & -i) before += tree[i];
      total += seen - before;
      for (let i = end + 1; i <= size; i += i & -i) tree[i] += 1;
    });
  }
  return total;
}

// x of every node: near its neighbours, in order, apart. Returns the width of all.
function place(all, ranks) {
  for (const r of ranks) {
    let x = 0;
    for (const k of r) { all[k].c = x + all[k].w / 2; x += all[k].w + GAP_X; }
    const shift = x / 2;
    r.forEach((k) => { all[k].c -= shift; });
  }
  const sweeps = all.length > 3000 ? 6 : 24;
  const towards = (r, sides, heavy) => {
    const wanted = r.map((k) => {
      const near = sides.flatMap((side) => all[k][side]), weight = sum(near.map(([, w]) => w));
      return weight ? [sum(near.map(([o, w]) => all[o].c * w)) / weight, all[k].real ? weight * heavy : weight] : [all[k].c, 0.1];
    });
    settle(r.map((k) => all[k]), wanted);
  };
  for (let s = 0; s < sweeps; s++) {
    const sides = s >= sweeps - 2 ? ["up", "down"] : s % 2 ? ["down"] : ["up"];
    for (const r of s % 2 ? [...ranks].reverse() : ranks) towards(r, sides, 1);
  }
  for (const r of ranks) towards(r, ["up"], 8); // chains run straight down; long edges step aside for boxes
  const left = Math.min(...all.map((v) => v.c - v.w / 2));
  all.forEach((v) => { v.x = v.c - v.w / 2 - left; });
  return Math.max(...all.map((v) => v.x + v.w));
}

// The centres of a rank, as close as can be to the wanted ones (least squares, weighted).
function settle(row, wanted) {
  const blocks = [], offset = [];
  row.forEach((v, i) => {
    const gap = i && !(v.real || row[i - 1].real) ? 10 : GAP_X;
    offset.push(i ? offset[i - 1] + (row[i - 1].w + v.w) / 2 + gap : 0);
    blocks.push({ value: wanted[i][0] - offset[i], weight: wanted[i][1], count: 1 });
    while (blocks.length > 1 && blocks.at(-2).value > blocks.at(-1).value) {
      const b = blocks.pop(), a = blocks.at(-1), weight = a.weight + b.weight;
      a.value = (a.value * a.weight + b.value * b.weight) / weight;
      a.weight = weight;
      a.count += b.count;
    }
  });
  let i = 0;
  for (const b of blocks) for (let n = 0; n < b.count; n++, i++) row[i].c = b.value + offset[i];
}
