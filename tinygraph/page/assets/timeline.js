// Timeline: what each thread did when, in one profiled call.

const LANE = 40, TOP = 26, SIDE = 78;

class TimelinePane {
  constructor(app, root) {
    Object.assign(this, { app, root, model: app.model, from: 0 });
    if (this.model.timeline) this.to = this.model.timeline.us;
  }

  draw() {
    const { model } = this, { us, threads } = model.timeline;
    this.number = new Map(model.run.map((i) => [`${model.kernels[i].launch} ${model.kernels[i].member}`, i]));
    this.chart = svg("svg", { class: "chart timeline", role: "img", "aria-label": "what each thread did when" });
    this.chart.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    this.chart.addEventListener("pointerdown", (e) => this.drag(e));
    this.chart.addEventListener("dblclick", () => this.range(0, us));
    const whole = el("button", { onclick: () => this.range(0, us) }, "whole call");
    fill(this.root, el("p", { class: "note" }, `One call of ${timeText(us)}, by the processor's counter. Hatched: a thread waits for other launches; empty: it has not joined yet, or there is nothing left to take. Ctrl and wheel zoom, drag moves. `, whole), this.chart,
      this.table(threads, us));
    this.paint();
  }

  range(from, to) {
    const { us } = this.model.timeline, span = Math.min(Math.max(to - from, us / 2000), us);
    this.from = Math.min(Math.max(from, 0), us - span);
    this.to = this.from + span;
    this.paint();
  }

  wheel(e) {
    if (!e.ctrlKey && !e.metaKey && !e.shiftKey) return;
    e.preventDefault();
    const r = this.chart.getBoundingClientRect(), span = this.to - this.from;
    if (e.shiftKey) return this.range(this.from + span * e.deltaY / 800, this.to + span * e.deltaY / 800);
    const at = this.from + span * ((e.clientX - r.left) / r.width * 1000 - SIDE) / (1000 - SIDE), f = Math.exp(e.deltaY / 200);
    this.range(at - (at - this.from) * f, at + (this.to - at) * f);
  }

  drag(e) {
    let x = e.clientX, moved = false;
    const move = (m) => {
      const by = (x - m.clientX) / this.chart.getBoundingClientRect().width * (this.to - this.from);
      if (moved || Math.abs(m.clientX - x) > 3) { moved = true; x = m.clientX; this.range(this.from + by, this.to + by); }
    };
    const up = (u) => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      const i = !moved && u.target.dataset ? u.target.dataset.kernel : undefined;
      if (i !== undefined) this.app.select({ kernels: [Number(i)] }, this);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
  }

  paint() {
    const { model, from, to } = this, { threads } = model.timeline, w = 1000 - SIDE - 6, X = (t) => SIDE + (t - from) / (to - from) * w;
    const h = TOP + threads.length * (LANE + 10) + 24;
    this.chart.setAttribute("viewBox", `0 0 1000 ${h}`);
    this.bars = [];
    const scale = ticks(from, to).map((t) => [svg("line", { class: "rule", x1: X(t), x2: X(t), y1: TOP - 6, y2: h - 22 }), svg("text", { class: "tick", x: X(t), y: 14, "text-anchor": "middle" }, timeText(t))]);
    const rows = threads.map((bars, thread) => {
      const y = TOP + thread * (LANE + 10);
      return [svg("text", { class: "tick", x: SIDE - 10, y: y + LANE / 2 + 4, "text-anchor": "end" }, thread ? `worker ${thread}` : "caller"),
        svg("rect", { class: "track", x: SIDE, y, width: w, height: LANE, rx: 4 }),
        bars.filter(([, , taken, , end]) => end > from && taken < to).map((bar) => this.bar(bar, X, y))];
    });
    const live = svg("clipPath", { id: "track" }, svg("rect", { x: SIDE, y: 0, width: w, height: h }));
    const hatch = svg("pattern", { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, svg("line", { x1: 0, y1: 0, x2: 0, y2: 5 }));
    fill(this.chart, svg("defs", {}, live, hatch), scale, rows);
    this.choose(this.app.related);
  }

  bar([launch, member, taken, begin, end], X, y) {
    const i = this.number.get(`${launch} ${member}`), k = this.model.kernels[i];
    if (!k) return null;
    const x = X(begin), width = Math.max(X(end) - x, 0.4), room = Math.floor(width / 6);
    const wait = X(begin) - X(taken) > 0.5 ? svg("rect", { class: "wait", "clip-path": "url(#track)", x: X(taken), y: y + LANE / 3, width: X(begin) - X(taken), height: LANE / 3 }) : null;
    const rect = svg("rect", { class: "ran", "clip-path": "url(#track)", x, y: y + 2, width, height: LANE - 4, style: `fill:color-mix(in oklab, ${PARTS[k.part]} ${launch % 2 ? 62 : 44}%, var(--panel))`, data: { kernel: i } },
      svg("title", {}, `${k.layer} ${k.what}\nlaunch ${launch}: ${timeText(end - begin)}${begin - taken > 0.05 ? `, after waiting ${timeText(begin - taken)}` : ""}`));
    this.bars.push([i, rect]);
    const text = room > 6 ? svg("text", { class: "inside", x: Math.max(x, SIDE) + 4, y: y + LANE / 2 + 4 }, cut(k.layer || k.what, room - 1)) : null;
    return [wait, rect, text];
  }

  // Where each thread's time went.
  table(threads, us) {
    const line = (bars, name) => {
      const ran = sum(bars.map((b) => b[4] - b[3])), waited = sum(bars.map((b) => b[3] - b[2]));
      return el("tr", {}, el("td", { class: "left" }, name), [ran, waited, us - ran - waited].map((t) => el("td", {}, `${timeText(t)}  ${percent(t / us)}`)), el("td", {}, counted(bars.length, "part")));
    };
    return el("table", { class: "threads" }, el("thead", {}, el("tr", {}, ["thread", "in kernels", "waiting for launches", "not joined, between parts, done", ""].map((t, k) => el("th", { class: k ? "" : "left" }, t)))),
      el("tbody", {}, threads.map((bars, t) => line(bars, t ? `worker ${t}` : "caller"))));
  }

  choose(related) {
    for (const [i, rect] of this.bars || []) rect.classList.toggle("chosen", related.kernels.has(i));
  }
}

// Round times, about eight of them.
function ticks(from, to) {
  const rough = (to - from) / 8, power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].find((f) => f * power >= rough) * power;
  const found = [];
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) found.push(t);
  return found;
}
