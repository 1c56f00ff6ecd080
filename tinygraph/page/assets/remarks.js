// Why not: remarks in groups, those first that cost most; and what a stage's pass changed.

class RemarksPane {
  constructor(app, root) { Object.assign(this, { app, root, model: app.model }); }

  // A group's cost: the bytes that it is about, else the time of the kernels that it is about.
  groups() {
    const { model } = this, groups = new Map();
    model.remarks.forEach((r, i) => pushed(groups, r.kind, i));
    return [...groups.values()].map((numbers) => {
      const remarks = numbers.map((i) => model.remarks[i]);
      const kernels = unique(remarks.flatMap((r) => r.items.flatMap((n) => model.kernelsOf(n))));
      const bytes = sum(remarks.map((r) => r.bytes));
      const us = sum(kernels.map((k) => model.kernels[k].us || 0));
      const saved = model.timed ? bytes * model.profile.threads / model.profile.bandwidth * 1e6 : 0;
      return { about: remarks[0].about, numbers, remarks, kernels, bytes, us, saved };
    });
  }

  draw() {
    const kinds = [
      ["apart", "Why are these two kernels?", "Neighbours that are not in one kernel; one kernel for both would not write and read these bytes.", (g) => g.bytes],
      ["choice", "Why is it computed this way?", "How convolutions and products are computed.", (g) => g.us || g.numbers.length],
      ["transfer", "What crosses between devices?", "", (g) => g.bytes],
      ["card", "What does a kernel take too much of?", "", () => 0],
      ["", "What did the passes do?", "", (g) => g.numbers.length],
    ];
    const groups = this.groups();
    this.shown = [];
    fill(this.root, kinds.map(([about, title, note, cost]) => {
      const mine = groups.filter((g) => (about ? g.about === about : !["apart", "choice", "transfer", "card"].includes(g.about)));
      if (!mine.length) return null;
      mine.sort((a, b) => cost(b) - cost(a));
      return el("section", { class: "block remarks" }, el("h3", {}, title, " ", el("small", {}, note)), mine.map((g) => this.group(g)));
    }));
    this.choose(this.app.related, false);
  }

  group(g) {
    const first = g.remarks.map((r, k) => [r.bytes, k]).sort((a, b) => b[0] - a[0])[0][1];
    const cost = g.bytes ? [el("b", {}, bytesText(g.bytes)), g.saved >= 0.05 ? el("span", {}, `≈ ${timeText(g.saved)}`) : null]
      : g.us ? [el("b", {}, timeText(g.us)), el("span", {}, "its kernels")] : [];
    const one = (r, i) => {
      const p = el("p", { class: "remark", tabindex: "0", data: { remark: i } }, el("bdi", {}, plain(r.text)), r.bytes && g.numbers.length > 1 ? el("small", {}, ` ${bytesText(r.bytes)}`) : null);
      this.shown.push([i, p]);
      return p;
    };
    const rest = g.numbers.filter((_, k) => k !== first);
    const body = el("div", {}, one(g.remarks[first], g.numbers[first]),
      rest.length ? el("details", {}, el("summary", {}, `and ${rest.length} more like it`), rest.map((i) => one(this.model.remarks[i], i))) : null);
    const row = el("div", { class: "why" }, el("div", { class: "cost" }, cost), body);
    row.addEventListener("click", (e) => this.pick(e.target));
    row.addEventListener("keydown", (e) => { if (e.key === "Enter") this.pick(e.target); });
    return row;
  }

  pick(target) {
    const at = target.closest("[data-remark]");
    if (!at) return;
    const { items } = this.model.remarks[Number(at.dataset.remark)];
    if (items.length) this.app.select({ items }, this);
  }

  choose(related) {
    for (const [i, p] of this.shown || []) p.classList.toggle("chosen", this.model.remarks[i].items.some((n) => related.items.has(n)));
  }
}

// A docstring's marks for code are for its source.
const worded = (text) => text.replaceAll("``", "");

// What a pass did: its purpose, the rules that it applied, the lines that came, went and changed.
class ChangesPane {
  constructor(app, root) { Object.assign(this, { app, root, model: app.model }); }

  draw() {
    const { app, model } = this, at = app.stage;
    if (at >= model.stages.length) return this.overview();
    const stage = model.stages[at], before = model.stages[at - 1];
    this.shown = [];
    const counts = before ? [counted(stage.added.length, "line"), " added, ", counted(stage.gone.length, "line"), " gone, ", counted(stage.changed.length, "line"), " changed"] : [counted(stage.items.length, "line")];
    const rules = stage.rules.length ? el("section", { class: "block" }, el("h3", {}, "Rules"), stage.rules.map((r) => {
      const row = el("p", { class: "remark rule", tabindex: "0" }, el("b", {}, `${r.count} × ${r.name}`), r.about ? ` ${r.about}` : "");
      row.addEventListener("click", () => app.select({ items: r.items }, this));
      return row;
    })) : null;
    const line = (from, n, sign) => {
      const row = el("div", { class: `line ${sign}`, data: { item: n } }, el("i", {}, { added: "+", gone: "−", changed: "~" }[sign]), el("code", { dir: "ltr" }, plain(model.lineText(from, n))));
      this.shown.push([n, row]);
      return row;
    };
    const changes = before ? [...stage.gone.map((n) => line(before, n, "gone")), ...stage.added.map((n) => line(stage, n, "added")), ...stage.changed.map((n) => line(stage, n, "changed"))] : stage.items.map((n) => line(stage, n, "same"));
    fill(this.root, el("section", { class: "block" }, el("h3", {}, stage.name, " ", el("small", {}, counts)), stage.about ? el("p", { class: "note" }, worded(stage.about)) : null),
      rules, el("section", { class: "block" }, el("h3", {}, before ? "Changes" : "As written"), changes.length ? el("div", { class: "text" }, changes) : el("p", { class: "note" }, "Nothing: this pass found nothing to do here.")));
    this.root.onclick = (e) => {
      const row = e.target.closest("[data-item]");
      if (row) app.select({ items: [Number(row.dataset.item)] }, this);
    };
    this.choose(app.related, false);
  }

  // At the kernels: what all passes did.
  overview() {
    const { app, model } = this;
    this.shown = [];
    const rows = model.stages.map((s, i) => el("div", { class: `line ${i && !(s.added.length + s.gone.length + s.changed.length) ? "idle" : ""}`, onclick: () => app.go(i) }, el("i", { class: "wide" }, i ? `+${s.added.length} −${s.gone.length} ~${s.changed.length}` : `${s.items.length} lines`), el("code", {}, i ? s.name : "as written"), el("small", {}, worded(s.about))));
    fill(this.root, el("section", { class: "block" }, el("h3", {}, `${model.stages[0].items.length} lines became ${model.last.items.length}, in ${counted(model.run.length, "kernel")}`), el("p", { class: "note" }, "Lines that each pass added (+), removed (−) and gave other operands (~); choose a stage to see them."), el("div", { class: "text" }, rows)));
    this.root.onclick = null;
  }

  choose(related, reveal) {
    let first = null;
    for (const [n, row] of this.shown || []) {
      row.classList.toggle("chosen", related.items.has(n));
      if (related.items.has(n) && !first) first = row;
    }
    if (first && reveal) first.scrollIntoView({ block: "nearest" });
  }
}
