// Two programs side by side: what differs in totals, kernels, times, memory, and the graph.

// Pairs of kernels that compute the same in the same layer: [number in a, number in b], null where
// one program has no such kernel. Those with the same functions are paired first, if their outputs
// are alike, too, then in order; then, since devices, sizes and dtypes are fused differently, those
// with the same first function, and then those that have any operator in common.
function paired(a, b) {
  const inPart = (k, names) => k.parts_of.flatMap((p) => names.map((name) => `${p} ${k.layer} ${name}`));
  const ways = [
    (m, k) => [`${k.layer} ${k.what} ${k.shape}`],
    (m, k) => [`${k.layer} ${k.what}`],
    (m, k) => inPart(k, [k.what.split(" ")[0]]),
    (m, k) => inPart(k, unique(k.items.map((n) => m.items[n].op))),
  ];
  const twin = new Map(), taken = new Set();
  for (const names of ways) {
    const free = new Map();
    for (const j of b.run) if (!taken.has(j)) names(b, b.kernels[j]).forEach((name) => pushed(free, name, j));
    for (const i of a.run) {
      if (twin.has(i)) continue;
      const j = names(a, a.kernels[i]).flatMap((name) => free.get(name) || []).find((other) => !taken.has(other));
      if (j !== undefined) { twin.set(i, j); taken.add(j); }
    }
  }
  return [...a.run.map((i) => [i, twin.get(i) ?? null]), ...b.run.filter((j) => !taken.has(j)).map((j) => [null, j])];
}

// How a pair differs: "gone" (only in the first), "added" (only in the second), "changed" (fused,
// computed or placed differently), "resized" (the same, of other shapes or dtypes), "".
function difference(a, b, [i, j]) {
  if (j === null) return "gone";
  if (i === null) return "added";
  const [k, l] = [a.kernels[i], b.kernels[j]], differ = (fields) => fields.some((f) => k[f] !== l[f]);
  return differ(["what", "how", "device"]) ? "changed" : differ(["dtype", "shape", "product", "flops", "bytes"]) ? "resized" : "";
}

// The other program's kernels, marked by how they differ; not those that are of other shapes or dtypes only.
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
    const amount = (m, i) => (timed ? m.kernels[i].us : m.kernels[i].flops || m.kernels[i].bytes);
    const value = (m, i) => (i === null ? "—" : (timed ? timeText : m.kernels[i].flops ? flopsText : bytesText)(amount(m, i)));
    const fields = ["how", "shape", ...(a.devices.length + b.devices.length ? ["device"] : [])];
    this.rows = [];
    const body = rows.map((p) => {
      const [i, j] = p, k = i === null ? b.kernels[j] : a.kernels[i], sign = difference(a, b, p);
      const row = el("tr", { class: sign, onclick: () => this.pick(p) }, el("td", { class: `left difference ${sign}` }, { gone: "−", added: "+", changed: "~" }[sign] || ""),
        el("td", { class: "left" }, el("bdi", {}, k.layer)), el("td", { class: "left" }, part(k), this.both(p, "what")),
        el("td", {}, value(a, i)), el("td", {}, value(b, j)), el("td", {}, i === null || j === null ? "" : ratio(amount(a, i), amount(b, j))),
        fields.map((f) => el("td", { class: "left" }, this.both(p, f))));
      this.rows.push([p, row]);
      return row;
    });
    const columns = ["", "layer", "what", "first", "second", "second / first", "how", "output", "on"].slice(0, 6 + fields.length);
    const head = columns.map((t, i) => el("th", { class: i < 3 || i > 5 ? "left" : "" }, t));
    const count = (sign) => this.pairs.filter((p) => difference(a, b, p) === sign).length;
    fill(this.root, summary, el("p", { class: "note" }, `${count("")} kernels are alike, ${count("resized")} the same on other shapes or dtypes, ${count("changed")} are fused or computed differently (~), ${count("gone")} are in the first only (−), ${count("added")} in the second only (+). Those whose ${timed ? "time" : "work"} differs most come first.`),
      el("table", { class: "compare" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
    this.choose(this.app.related);
  }

  // What both kernels of a pair have in a field: one text where it is the same.
  both([i, j], field) {
    const [x, y] = [[this.a, i], [this.b, j]].map(([m, n]) => (n === null ? null : valueIn(m.kernels[n], field)));
    if (x === null || y === null || x === y) return el("bdi", {}, plain(x ?? y));
    return [el("bdi", {}, plain(x)), el("b", { class: "difference changed" }, " → "), el("bdi", {}, plain(y))];
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

const valueIn = (k, field) => (field === "shape" ? `${k.dtype}${k.shape}` : k[field] || "—");

const ratio = (a, b) => (a && b ? (Math.abs(b / a - 1) < 0.005 ? "=" : `${number(b / a, b / a < 10 ? 2 : 0)} ×`) : "");
