// The page: one state (what is selected, the stage, the pane, the colours), which all panes follow.

const FUSED = "fused";

class App {
  constructor(programs) {
    this.models = programs.map((p) => new Model(p));
    this.theme();
    this.use(0);
    this.keys();
  }

  use(chosen) {
    this.model = this.models[chosen];
    this.related = this.model.related({});
    this.related.narrow = null;
    this.picked = {};
    this.stage = this.model.stages.length; // the kernels
    this.beside = false;
    this.only = false;
    this.colours = colourings(this.model);
    this.colour = this.colours[0];
    this.panes = {};
    this.header(chosen);
    this.graphs();
    this.tabs();
    this.stages();
    if (this.panes.compare) this.beside = this.tab === undefined || this.tab === "compare";
    $("beside").setAttribute("aria-pressed", this.beside);
    const start = new URLSearchParams(location.hash.slice(1));
    if (start.has("stage")) this.go(Math.max(0, this.names().indexOf(start.get("stage"))));
    else this.go(this.stage);
    const slowest = [...this.model.run].sort((a, b) => weight(this.model, b) - weight(this.model, a))[0];
    const asked = start.has("kernel") ? Number(start.get("kernel")) : slowest;
    if (asked !== undefined && this.model.kernels[asked]) this.select({ kernels: [asked] }, null, start.has("kernel"));
    fill($("failure"), this.model.failure ? failure(this.model.failure) : []);
    if (this.model.failure) { this.go(0); this.select({ items: this.model.failure.items.slice(0, 1) }); }
    this.open(start.get("pane") in this.panes ? start.get("pane") : this.tab || (this.panes.compare ? "compare" : "kernels"));
  }

  names() { return [...this.model.stages.map((s) => s.name), FUSED]; }

  // ---- selection

  // picked: {kernels, items, places, buffers}, numbers; what belongs to them is found here.
  select(picked, source, reveal = true) {
    this.picked = picked;
    this.related = this.model.related(picked);
    this.related.narrow = picked.items ? new Set(picked.items.flatMap((n) => this.model.seenIn(n, this.model.last))) : null;
    this.card.choose(this.related, picked);
    for (const graph of [this.graph, this.past]) if (graph.drawn) this.mark(graph, source !== graph && reveal);
    const pane = this.panes[this.tab];
    if (pane && pane.root.isConnected) pane.choose(this.related, source !== pane);
    this.address();
  }

  mark(graph, reveal) {
    const ids = graph.other ? this.panes.compare.twin(this.model, this.related.kernels) : graph.kernels ? [...this.related.kernels] : this.itemsIn(graph.shownStage);
    graph.choose(ids, reveal && ids.length > 0);
  }

  itemsIn(stage) {
    const asked = this.picked.items || [...this.related.items];
    return unique(asked.flatMap((n) => this.model.seenIn(n, stage)));
  }

  // ---- the graph, and the stage before it

  graphs() {
    fill($("now"));
    fill($("before"));
    const make = (root, label, of) => {
      const graph = new GraphPane(root, {
        label,
        colour: (things) => colourOf(of(graph), this.colourIn(of(graph)), kernelsIn(things), graph.most),
        amount: (things) => amountOf(of(graph), this.colourIn(of(graph)), kernelsIn(things)),
        value: (things) => this.valueOf(things, of(graph)),
        onSelect: (ids) => this.picks(graph, ids),
      });
      return graph;
    };
    this.graph = make($("now"), "graph of this stage", () => this.model);
    this.past = make($("before"), "graph of the stage before", (graph) => graph.other || this.model);
  }

  picks(graph, ids) {
    if (graph.other) this.select({ kernels: this.panes.compare.twin(graph.other, ids) }, null);
    else this.select(this.graph.kernels ? { kernels: ids } : { items: ids }, graph);
  }

  // Each program's own colours, of the kind that is chosen.
  colourIn(model) {
    model.colourings ||= colourings(model);
    return model.colourings.find((c) => c.name === this.colour.name) || model.colourings[0];
  }

  valueOf(things, model) {
    if (!this.graph.kernels) return "";
    return this.colourIn(model).text(unique(things.flatMap((t) => t.kernels)).map((k) => model.kernels[k]).filter((k) => k.part !== "prepare"));
  }

  go(stage) {
    const { model } = this, last = model.stages.length;
    this.stage = Math.min(Math.max(stage, 0), last);
    const here = model.stages[this.stage], before = model.stages[this.stage - 1];
    this.graph.kernels = this.stage === last;
    let things = this.graph.kernels ? kernelThings(model) : itemThings(model, here, this.beside ? null : before);
    this.past.kernels = false;
    const other = this.graph.kernels && this.panes.compare ? this.models.find((m) => m !== model) : null;
    const compare = this.beside && (other ? true : this.stage > 0 && !this.graph.kernels);
    if (other && compare) things = markedThings(model, this.panes.compare.marks(model));
    $("graphs").classList.toggle("two", compare);
    if (!this.graph.kernels) {
      this.graph.shownStage = here;
      if (this.only && before) things = different(things);
    }
    $("now").dataset.caption = other ? model.name : this.names()[this.stage];
    $("before").dataset.caption = other ? other.name : before ? before.name : "";
    $("before").style.order = other === this.models[1] ? 1 : 0;
    this.graph.show(things);
    this.past.other = other;
    if (compare && other) {
      this.past.show(markedThings(other, this.panes.compare.marks(other)));
      this.mark(this.past, false);
    } else if (compare) {
      this.past.shownStage = before;
      const gone = new Set(here.gone), changed = new Set(here.changed);
      let old = itemThings(model, before, null).map((t) => ({ ...t, mark: gone.has(t.id) ? "gone" : changed.has(t.id) ? "changed" : undefined }));
      if (this.only) old = different(old);
      this.past.show(old);
      this.mark(this.past, false);
    }
    this.mark(this.graph, false);
    this.paintStages();
    if (this.tab === "changes") this.panes.changes.draw();
    this.address();
  }

  // ---- header, stages, tabs

  header(chosen) {
    const { model } = this, c = model.cost;
    document.title = model.name;
    fill($("title"), this.models.length > 1 ? [] : el("bdi", {}, plain(model.name)));
    $("title").title = model.title;
    const facts = [
      model.timed ? [timeText(1e6 * model.profile.seconds), `on ${counted(model.profile.threads, "thread")}`] : null,
      [number(c.launches), c.launches === 1 ? "launch" : "launches"], [flopsText(c.flops), ""],
      model.timed ? [number(c.flops / model.profile.seconds / 1e9, 0), "GFLOP/s"] : null,
      [bytesText(c.arena_bytes), "arena"], [bytesText(c.parameter_bytes), "parameters"],
    ].filter(Boolean);
    fill($("facts"), facts.map(([value, what]) => el("span", { class: "fact" }, el("b", {}, value), what)));
    fill($("colour"), this.colours.map((c, i) => el("option", { value: i }, c.name)));
    $("colour").onchange = (e) => { this.colour = this.colours[Number(e.target.value)]; this.recolour(); };
    $("search").oninput = (e) => this.search(e.target.value);
    $("search").onkeydown = (e) => { if (e.key === "Enter") this.next(e.shiftKey ? -1 : 1); if (e.key === "Escape") { e.target.value = ""; this.search(""); this.graph.canvas.focus(); } };
    $("fold").onclick = () => { this.graph.unfold(this.graph.open.size === 0); this.graph.arrange(); this.graph.fit(); };
    $("fit").onclick = () => this.graph.fit(true);
    $("beside").onclick = () => { this.beside = !this.beside; $("beside").setAttribute("aria-pressed", this.beside); this.go(this.stage); };
    $("only").onclick = () => { this.only = !this.only; $("only").setAttribute("aria-pressed", this.only); this.go(this.stage); };
    fill($("programs"), this.models.length > 1 ? this.models.map((p, i) => el("button", { class: i === chosen ? "on" : "", onclick: () => this.use(i) }, `${["first", "second"][i]}: `, el("bdi", {}, plain(p.name)))) : []);
    this.card = new Card(this, $("card"));
  }

  recolour() {
    this.graph.recolour();
    if ($("graphs").classList.contains("two")) this.past.recolour();
    this.legend();
  }

  legend() {
    const mode = this.colour, parts = LANES.filter((p) => this.graph.things.some((t) => t.part === p));
    const scale = mode.total ? el("span", {}, `${mode.name}: `, "little", el("i", { class: "scale" }), "much") : null;
    const stage = this.graph.kernels ? [] : ["added", "changed", "gone"].filter((m) => this.graph.things.some((t) => t.mark === m)).map((m) => el("span", {}, el("i", { class: `key ${m}` }), m));
    fill($("legend"), scale, parts.length > 1 ? parts.map((p) => el("span", {}, el("i", { class: "key", style: `background:${PARTS[p]}` }), p)) : [], stage);
  }

  stages() {
    const names = this.names(), changes = (s, i) => (i === 0 ? 0 : s.added.length + s.gone.length + s.changed.length);
    const most = Math.max(1, ...this.model.stages.map(changes));
    fill($("stages"), names.map((name, i) => {
      const s = this.model.stages[i], n = s ? changes(s, i) : 0;
      return el("button", { role: "radio", title: s ? `${s.about}${i ? `\n${s.added.length} added, ${s.gone.length} gone, ${s.changed.length} changed` : ""}` : "The kernels that the optimized graph became", class: n || !s || !i ? "" : "idle", onclick: () => this.go(i) },
        el("i", { style: `height:${n ? 3 + Math.round(13 * Math.sqrt(n / most)) : 2}px` }), el("span", {}, i === 0 ? "as written" : s ? s.name.replaceAll("_", " ") : "kernels"));
    }));
    $("slider").max = names.length - 1;
    $("slider").oninput = (e) => this.go(Number(e.target.value));
  }

  paintStages() {
    [...$("stages").children].forEach((b, i) => { b.classList.toggle("on", i === this.stage); b.setAttribute("aria-checked", i === this.stage); });
    $("stages").children[this.stage].scrollIntoView({ block: "nearest", inline: "nearest" });
    $("slider").value = this.stage;
    $("slider").setAttribute("aria-valuetext", this.names()[this.stage]);
    const graph = this.stage > 0 && this.stage < this.model.stages.length;
    $("only").disabled = !graph;
    $("beside").disabled = !graph && !this.panes.compare;
    this.legend();
  }

  tabs() {
    const kinds = { kernels: ["Kernels", KernelsPane], code: ["Generated code", CodePane], yours: ["Your code", YoursPane], memory: ["Memory", MemoryPane], timeline: ["Timeline", TimelinePane], roofline: ["Roofline", RooflinePane], why: ["Why not", RemarksPane], changes: ["Stage", ChangesPane] };
    if (!this.model.timeline) delete kinds.timeline;
    if (this.models.length > 1) kinds.compare = ["Compare", ComparePane];
    for (const [key, [, Pane]] of Object.entries(kinds)) this.panes[key] = new Pane(this, el("div", { class: `pane-${key}`, id: `pane-${key}`, role: "tabpanel" }));
    fill($("tabs"), Object.entries(kinds).map(([key, [title]], i) => el("button", { role: "tab", id: `tab-${key}`, "aria-controls": `pane-${key}`, title: `key ${i + 1}`, onclick: () => this.open(key) }, title)));
  }

  open(tab) {
    this.tab = tab in this.panes ? tab : "kernels";
    [...$("tabs").children].forEach((b) => { const on = b.id === `tab-${this.tab}`; b.classList.toggle("on", on); b.setAttribute("aria-selected", on); });
    fill($("panes"), this.panes[this.tab].root);
    this.panes[this.tab].draw();
    this.address();
  }

  // ---- search

  search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean), { model } = this;
    if (!words.length) { this.hits = null; fill($("found")); }
    else {
      const has = (t) => words.every((w) => t.includes(w));
      const kernels = new Set(model.kernels.map((_, i) => i).filter((i) => has(model.searchText(i))));
      const stage = this.graph.kernels ? model.last : this.graph.shownStage;
      const items = new Set(stage.items.filter((n) => has(model.itemText(stage, n))));
      this.hits = { kernels, items };
      fill($("found"), counted((this.graph.kernels ? kernels : items).size, this.graph.kernels ? "kernel" : "node"));
    }
    this.graph.find(this.hits && (this.graph.kernels ? this.hits.kernels : this.hits.items));
    if (this.panes[this.tab].find) this.panes[this.tab].find(this.hits);
    this.at = -1;
  }

  next(step) {
    if (!this.hits) return;
    const ids = this.graph.things.map((t) => t.id).filter((id) => (this.graph.kernels ? this.hits.kernels : this.hits.items).has(id));
    if (!ids.length) return;
    this.at = (this.at + step + ids.length) % ids.length;
    this.select(this.graph.kernels ? { kernels: [ids[this.at]] } : { items: [ids[this.at]] });
  }

  // ---- keys, theme, address

  keys() {
    addEventListener("keydown", (e) => {
      if (/INPUT|SELECT|TEXTAREA/.test(e.target.tagName) && e.target.type !== "range") return;
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      const tabs = Object.keys(this.panes);
      if (e.key === "/") $("search").focus();
      else if (e.key === "[") this.go(this.stage - 1);
      else if (e.key === "]") this.go(this.stage + 1);
      else if (e.key === "?") $("help").showModal();
      else if (e.key === "Escape") this.select({});
      else if (e.key >= "1" && tabs[Number(e.key) - 1]) this.open(tabs[Number(e.key) - 1]);
      else if (this.panes[this.tab].key && e.target.type !== "range" && this.panes[this.tab].key(e)) { /* done */ }
      else if (e.target === document.body && this.graph.key(e)) { /* done */ }
      else return;
      e.preventDefault();
    });
    addEventListener("resize", () => this.graph.paint());
    addEventListener("beforeprint", () => { this.graph.printing = true; this.graph.unfold(false); this.graph.arrange(); this.graph.fit(true); });
    addEventListener("afterprint", () => { this.graph.printing = false; this.graph.paint(); });
    splitter($("splitter"), () => this.graph.paint());
  }

  theme() {
    const root = document.documentElement;
    $("theme").onclick = () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
    };
  }

  address() {
    const [kernel] = this.picked.kernels || [];
    const parts = { pane: this.tab, stage: this.names()[this.stage], ...(kernel === undefined || this.picked.kernels.length > 1 ? {} : { kernel }) };
    try { history.replaceState(null, "", `#${new URLSearchParams(parts)}`); } catch { /* a page within a page has no address */ }
  }
}

const weight = (model, i) => (model.timed ? model.kernels[i].us : model.kernels[i].flops / 8 + model.kernels[i].bytes);

const kernelsIn = (things) => unique(things.flatMap((t) => t.kernels));

// The things that differ, and what is next to them.
function different(things) {
  const near = new Set(things.filter((t) => t.mark).flatMap((t) => [t.id, ...t.reads]));
  things.forEach((t) => { if (t.reads.some((r) => things.marked?.has(r))) near.add(t.id); });
  return things.filter((t) => near.has(t.id));
}

function splitter(bar, done) {
  const set = (share) => document.documentElement.style.setProperty("--split", `${Math.min(80, Math.max(20, share))}%`);
  bar.addEventListener("pointerdown", (e) => {
    bar.setPointerCapture(e.pointerId);
    const move = (m) => { set(100 * m.clientX / innerWidth); done(); };
    bar.addEventListener("pointermove", move);
    bar.addEventListener("pointerup", () => bar.removeEventListener("pointermove", move), { once: true });
  });
  bar.addEventListener("keydown", (e) => {
    const step = { ArrowLeft: -3, ArrowRight: 3 }[e.key];
    if (step) { set(100 * bar.getBoundingClientRect().x / innerWidth + step); done(); e.preventDefault(); e.stopPropagation(); }
  });
}

window.app = new App(JSON.parse($("data").textContent).programs);
