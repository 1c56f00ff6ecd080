// What belongs together: items (lines of graphs), kernels, places in the user's code, buffers.

class Model {
  constructor(program) {
    Object.assign(this, program);
    for (const s of this.stages) { // one that changed nothing has what the one before has
      if (s.like !== undefined) for (const k of ["items", "labels", "reads", "outputs"]) s[k] = this.stages[s.like][k];
    }
    this.last = this.stages.at(-1);
    this.run = this.kernels.map((k, i) => i).filter((i) => this.kernels[i].part !== "prepare");
    this.total = sum(this.run.map((i) => this.kernels[i].us || 0));
    this.longest = Math.max(1e-9, ...this.run.map((i) => this.kernels[i].us || 0));
    this.timed = this.profile !== undefined;
    this.index();
  }

  index() {
    this.ofItem = new Map(); // kernels by item
    this.ofPlace = new Map(); // kernels by place
    this.ofLaunch = new Map();
    this.writers = new Map(); // kernels by buffer
    this.readers = new Map();
    this.kernels.forEach((k, i) => {
      k.items.forEach((n) => pushed(this.ofItem, n, i));
      k.places.forEach(([p]) => pushed(this.ofPlace, p, i));
      k.writes.forEach((b) => pushed(this.writers, b, i));
      k.reads.forEach((b) => pushed(this.readers, b, i));
      if (k.part !== "prepare") pushed(this.ofLaunch, k.launch, i);
    });
    this.atPlace = new Map(); // items by place
    this.atLine = new Map(); // places by "file:line"
    this.items.forEach((n, i) => n.places.forEach((p) => pushed(this.atPlace, p, i)));
    this.places.forEach((p, i) => pushed(this.atLine, `${p.file}:${p.line}`, i));
    this.remarksOf = new Map(); // remarks by item
    this.remarks.forEach((r, i) => r.items.forEach((n) => pushed(this.remarksOf, n, i)));
    this.inLast = new Set(this.last.items);
    this.inFirst = new Set(this.stages[0].items);
  }

  // The items of a stage that an item of any stage is, became, or came from.
  seenIn(item, stage) {
    const here = stage.set || (stage.set = new Set(stage.items));
    if (here.has(item)) return [item];
    const from = this.items[item].from;
    if (stage === this.stages[0] && from) return from;
    const near = unique(this.items[item].places.flatMap((p) => this.atPlace.get(p) || []));
    const found = near.filter((n) => here.has(n));
    const alike = found.filter((n) => this.items[n].op === this.items[item].op);
    return alike.length ? alike : found;
  }

  kernelsOf(item) {
    const own = this.ofItem.get(item);
    if (own) return own;
    const computed = this.seenIn(item, this.last).flatMap((n) => [n, ...(this.items[n].near || [])]);
    return unique(computed.flatMap((n) => this.ofItem.get(n) || []));
  }

  // Everything that a selection touches, as sets of numbers.
  related({ kernels = [], items = [], places = [], buffers = [] }) {
    const found = { kernels: new Set(kernels), items: new Set(items), places: new Set(places), buffers: new Set(buffers), reads: new Set(), writes: new Set() };
    items.forEach((n) => this.kernelsOf(n).forEach((k) => found.kernels.add(k)));
    places.forEach((p) => (this.ofPlace.get(p) || []).forEach((k) => found.kernels.add(k)));
    buffers.forEach((b) => (this.writers.get(b) || []).forEach((k) => found.kernels.add(k)));
    if (!items.length) for (const k of found.kernels) this.kernels[k].items.forEach((n) => found.items.add(n));
    if (!places.length) {
      const asked = items.length ? items.flatMap((n) => this.items[n].places) : [...found.kernels].flatMap((k) => this.kernels[k].places.map(([p]) => p));
      asked.forEach((p) => found.places.add(p));
    }
    for (const k of found.kernels) {
      this.kernels[k].writes.forEach((b) => { found.writes.add(b); found.buffers.add(b); });
      this.kernels[k].reads.forEach((b) => { found.reads.add(b); found.buffers.add(b); });
    }
    return found;
  }

  placeText(p) {
    const { file, line, scope, how } = this.places[p];
    return `${how ? `${how} ` : ""}${this.files[file].name}:${line}${scope ? ` in ${scope}` : ""}`;
  }

  label(stage, item) {
    const labels = stage.labelOf || (stage.labelOf = new Map(stage.items.map((n, k) => [n, stage.labels[k]])));
    return this.items[item].source ?? labels.get(item) ?? `${this.items[item].op}`;
  }

  // A line of a graph's dump.
  lineText(stage, item) {
    const at = stage.at || (stage.at = new Map(stage.items.map((n, k) => [n, k])));
    const n = this.items[item];
    if (n.source !== undefined) return `${n.op} ${n.source}: ${n.type}`;
    const reads = (stage.reads[at.get(item)] || []).map((x) => this.label(stage, x));
    return `${this.label(stage, item)} = ${n.op}(${[...reads, ...(n.attrs ? [n.attrs] : [])].join(", ")}) : ${n.type}`;
  }

  // Text that search looks at.
  searchText(kernel) {
    const k = this.kernels[kernel];
    const code = k.code.map((c) => this.code[c].name);
    const ops = k.items.flatMap((n) => [this.items[n].op, this.items[n].type, this.label(this.last, n)]);
    return [k.layer, k.what, k.how, k.shape, k.product, ...code, ...ops, ...k.places.map(([p]) => this.placeText(p))].join(" ").toLowerCase();
  }

  itemText(stage, item) {
    return `${this.lineText(stage, item)} ${this.items[item].scope} ${this.items[item].places.map((p) => this.placeText(p)).join(" ")}`.toLowerCase();
  }
}

// A value that panes watch.
class Watched {
  constructor(value) { this.value = value; this.watchers = []; }
  set(value, source) { this.value = value; this.watchers.forEach((f) => f(value, source)); }
  watch(f) { this.watchers.push(f); }
}
