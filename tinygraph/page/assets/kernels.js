// The table of kernels, sorted by any column.

const COLUMNS = [
  { name: "#", title: "launch", key: (k) => k.launch, text: (k) => (k.part === "prepare" ? "prep" : k.launch) },
  { name: "layer", key: (k) => k.layer, left: true, text: (k) => el("bdi", {}, k.layer || "") },
  { name: "what", key: (k) => k.what, left: true, text: (k) => [part(k), el("bdi", {}, k.what)] },
  { name: "time", timed: true, key: (k) => k.us || 0, text: (k) => (k.us === undefined ? "" : timeText(k.us)) },
  { name: "share", timed: true, key: (k) => k.us || 0, text: (k, m) => (k.us === undefined ? "" : bar(k.us / m.total, k.us / m.longest)) },
  { name: "work", untimed: true, key: (k) => k.flops, text: (k) => (k.flops ? flopsText(k.flops) : "—") },
  { name: "of roof", timed: true, title: "the time at best over the time taken", key: (k) => k.roof || 0, text: (k) => (k.roof === undefined ? "" : k.roof > 1.005 ? el("span", { class: "above", title: aboveText(k) }, percent(k.roof)) : percent(k.roof)) },
  { name: "bound by", timed: true, key: (k) => k.bound || "", left: true, text: (k) => k.bound || "" },
  { name: "how", key: (k) => k.how, left: true, text: (k) => k.how },
  { name: "rows × columns × depth", key: (k) => k.flops, text: (k) => k.product.replaceAll("x", "×") },
  { name: "output", key: (k) => k.shape, left: true, text: (k) => k.shape },
  { name: "bytes", untimed: true, key: (k) => k.bytes, text: (k) => bytesText(k.bytes) },
  { name: "GFLOP/s", timed: true, title: "of one thread", key: (k) => rate(k), text: (k) => (rate(k) ? number(rate(k), 1) : "") },
  { name: "GB/s", timed: true, title: "of one thread", key: (k) => k.bytes / (k.us || 1e9), text: (k) => (k.us ? number(k.bytes / k.us / 1e3, 1) : "") },
];

const rate = (k) => (k.us ? k.flops / k.us / 1e3 : 0);
const part = (k) => (SIGNS[k.part] ? el("span", { class: `sign ${k.part}`, title: k.part }, SIGNS[k.part]) : null);
const bar = (share, length) => [el("span", { class: "bar", style: `width:${Math.max(1, Math.round(56 * length))}px` }), percent(share)];

// Why a kernel is faster than what is possible.
const aboveText = (k) => (k.bound === "cache" ? "its bytes come from a cache, which is faster than memory"
  : k.how.startsWith("winograd") ? "Winograd computes fewer operations than are counted"
    : "the peak was measured while the processor was slower, or had other work");

class KernelsPane {
  constructor(app, root) {
    Object.assign(this, { app, root, model: app.model, hits: null });
    const { timed } = this.model;
    this.columns = COLUMNS.filter((c) => (timed ? !c.untimed : !c.timed));
    this.sort = [this.columns.findIndex((c) => c.name === (timed ? "time" : "work")), -1];
  }

  draw() {
    const { model, columns } = this, [by, direction] = this.sort;
    const key = columns[by].key;
    const order = model.kernels.map((_, i) => i).filter((i) => !this.hits || this.hits.has(i)).sort((a, b) => {
      const [p, q] = [key(model.kernels[a]), key(model.kernels[b])];
      return direction * (p < q ? -1 : p > q ? 1 : 0) || a - b;
    });
    this.rows = new Map();
    const body = order.map((i) => {
      const k = model.kernels[i];
      const row = el("tr", { data: { kernel: i }, class: k.part, tabindex: "-1" },
        columns.map((c) => el("td", { class: c.left ? "left" : "" }, c.text(k, model))));
      this.rows.set(i, row);
      return row;
    });
    const head = columns.map((c, i) => el("th", {
      class: c.left ? "left" : "", title: c.title, scope: "col", tabindex: "0",
      "aria-sort": i === by ? (direction < 0 ? "descending" : "ascending") : null,
      onclick: () => this.by(i), onkeydown: (e) => { if (e.key === "Enter") this.by(i); },
    }, c.name, i === by ? (direction < 0 ? " ▾" : " ▴") : ""));
    this.order = order;
    const table = el("table", { class: "kernels" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body));
    table.addEventListener("click", (e) => {
      const row = e.target.closest("tr[data-kernel]");
      if (row) this.app.select({ kernels: [Number(row.dataset.kernel)] }, this);
    });
    const above = model.run.filter((i) => model.kernels[i].roof > 1.005);
    const why = unique(above.map((i) => aboveText(model.kernels[i]))).join("; or ");
    const note = model.timed ? `Times are summed over threads, rates are of one thread. ${above.length ? `${counted(above.length, "kernel")} above 100 % of the roofline: ${why}.` : ""}` : "Not profiled: program.profile(...) before program.view(...) adds times.";
    fill(this.root, table, el("p", { class: "note" }, note));
    this.choose(this.app.related, false);
  }

  by(column) {
    this.sort = [column, this.sort[0] === column ? -this.sort[1] : this.columns[column].left ? 1 : -1];
    this.draw();
  }

  choose(related, reveal = true) {
    let first = null;
    for (const [i, row] of this.rows || []) {
      const on = related.kernels.has(i);
      row.classList.toggle("chosen", on);
      if (on && !first) first = row;
    }
    if (first && reveal) first.scrollIntoView({ block: "nearest" });
  }

  key(e) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (!step || !this.order.length) return false;
    const at = this.order.findIndex((i) => this.app.related.kernels.has(i));
    const next = this.order[Math.min(Math.max(at + step, 0), this.order.length - 1)];
    this.app.select({ kernels: [next] });
    this.rows.get(next).scrollIntoView({ block: "nearest" });
    return true;
  }

  find(hits) { this.hits = hits && hits.kernels; if (this.rows) this.draw(); }
}
