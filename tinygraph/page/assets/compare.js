// Two programs side by side: what differs in totals, kernels, times, memory, and the graph.

// Pairs of kernels that compute the same in the same layer: [number in a, number in b], null where
// one program has no such kernel.
function paired(a, b) {
  const named = (m) => {
    const found = new Map(), seen = new Map();
    for (const i of m.run) {
      const k = m.kernels[i], name = `${k.part} ${k.layer} ${k.what}`, count = (seen.get(name) || 0) + 1;
      seen.set(name, count);
      found.set(`${name} ${count}`, i);
    }
    return found;
  };
  const [mine, theirs] = [named(a), named(b)];
  const pairs = [...mine].map(([name, i]) => [i, theirs.get(name) ?? null]);
  const known = new Set(mine.keys());
  return [...pairs, ...[...theirs].filter(([name]) => !known.has(name)).map(([, i]) => [null, i])];
}

// How a pair differs: "gone" (only in the first), "added" (only in the second), "changed", "".
function difference(a, b, [i, j]) {
  if (j === null) return "gone";
  if (i === null) return "added";
  const [k, l] = [a.kernels[i], b.kernels[j]];
  return ["how", "shape", "flops", "bytes", "device"].some((f) => k[f] !== l[f]) ? "changed" : "";
}

// The other program's kernels, marked by how they differ.
function markedThings(model, marks) {
  return kernelThings(model).map((t) => ({ ...t, mark: marks.get(t.id) || undefined }));
}

class ComparePane {
  constructor(app, root) {
    Object.assign(this, { app, root, a: app.models[0], b: app.models[1] });
    this.pairs = paired(this.a, this.b);
  }

  // For one of the programs, how each kernel differs.
  marks(model) {
    const side = model === this.a ? 0 : 1;
    return new Map(this.pairs.filter((p) => p[side] !== null).map((p) => [p[side], difference(this.a, this.b, p)]));
  }

  twin(model, kernels) {
    const side = model === this.a ? 0 : 1, chosen = new Set(kernels);
    return this.pairs.filter((p) => chosen.has(p[side]) && p[1 - side] !== null).map((p) => p[1 - side]);
  }

  draw() {
    const { a, b } = this, timed = a.timed && b.timed;
    const totals = [
      timed ? ["time of a call", (m) => 1e6 * m.profile.seconds, timeText] : null,
      ["launches", (m) => m.cost.launches, (x) => number(x)], ["kernels", (m) => m.run.length, (x) => number(x)],
      ["nodes as written", (m) => m.stages[0].items.length, (x) => number(x)], ["nodes after the passes", (m) => m.last.items.length, (x) => number(x)],
      ["operations", (m) => m.cost.flops, flopsText], ["bytes read and written", (m) => m.cost.bytes, bytesText],
      ["arena", (m) => m.cost.arena_bytes, bytesText], ["parameters", (m) => m.cost.parameter_bytes, bytesText], ["memory in all", (m) => m.cost.peak_bytes, bytesText],
    ].filter(Boolean);
    const names = [a, b].map((m, i) => el("th", {}, `${["first", "second"][i]}: `, el("bdi", {}, plain(m.name))));
    const summary = el("table", { class: "totals" }, el("thead", {}, el("tr", {}, el("th", { class: "left" }, ""), names, el("th", {}, "second / first"))),
      el("tbody", {}, totals.map(([name, of, text]) => el("tr", {}, el("td", { class: "left" }, name), el("td", {}, text(of(a))), el("td", {}, text(of(b))), el("td", {}, ratio(of(a), of(b)))))));
    const weight = (m, i) => (i === null ? 0 : timed ? m.kernels[i].us : m.kernels[i].flops / 8 + m.kernels[i].bytes);
    const rows = [...this.pairs].sort((p, q) => Math.abs(weight(b, q[1]) - weight(a, q[0])) - Math.abs(weight(b, p[1]) - weight(a, p[0])));
    const value = (m, i) => (i === null ? "—" : timed ? timeText(m.kernels[i].us) : m.kernels[i].flops ? flopsText(m.kernels[i].flops) : bytesText(m.kernels[i].bytes));
    this.rows = [];
    const body = rows.map((p) => {
      const [i, j] = p, k = i === null ? b.kernels[j] : a.kernels[i], sign = difference(a, b, p);
      const ways = [a, b].map((m, s) => (p[s] === null ? "—" : m.kernels[p[s]].how));
      const row = el("tr", { class: sign, onclick: () => this.pick(p) }, el("td", { class: `left difference ${sign}` }, { gone: "−", added: "+", changed: "~" }[sign] || ""),
        el("td", { class: "left" }, el("bdi", {}, k.layer)), el("td", { class: "left" }, part(k), el("bdi", {}, k.what)),
        el("td", {}, value(a, i)), el("td", {}, value(b, j)), el("td", {}, i === null || j === null ? "" : ratio(weight(a, i), weight(b, j))),
        el("td", { class: "left" }, ways[0] === ways[1] ? ways[0] : `${ways[0]} → ${ways[1]}`));
      this.rows.push([p, row]);
      return row;
    });
    const head = ["", "layer", "what", "first", "second", "second / first", "how"].map((t, i) => el("th", { class: i < 3 || i > 5 ? "left" : "" }, t));
    const count = (sign) => this.pairs.filter((p) => difference(a, b, p) === sign).length;
    fill(this.root, summary, el("p", { class: "note" }, `${count("")} kernels are alike, ${count("changed")} differ (~), ${count("gone")} are in the first only (−), ${count("added")} in the second only (+). Those whose ${timed ? "time" : "work"} differs most come first.`),
      el("table", { class: "compare" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
    this.choose(this.app.related);
  }

  pick([i, j]) {
    const first = this.app.model === this.a, own = first ? i : j;
    if (own === null) this.app.use(first ? 1 : 0);
    this.app.select({ kernels: [own === null ? (first ? j : i) : own] }, this);
  }

  choose(related) {
    const side = this.app.model === this.a ? 0 : 1;
    for (const [p, row] of this.rows || []) row.classList.toggle("chosen", p[side] !== null && related.kernels.has(p[side]));
  }
}

const ratio = (a, b) => (a && b ? (Math.abs(b / a - 1) < 0.005 ? "=" : `${number(b / a, b / a < 10 ? 2 : 0)} ×`) : "");
