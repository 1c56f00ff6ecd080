// The roofline: operations per byte against operations per second, both logarithmic. Williams,
// Waterman, Patterson, "Roofline: an insightful visual performance model", 2009.

class RooflinePane {
  constructor(app, root) { Object.assign(this, { app, root, model: app.model }); }

  draw() {
    const { model } = this;
    this.dots = new Map();
    if (!model.timed) return fill(this.root, el("p", { class: "note" }, "A roofline needs times: program.profile(...) before program.view(...)."));
    const { threads, flops, bandwidth } = model.profile, one = { flops: flops / threads / 1e9, bytes: bandwidth / threads / 1e9 };
    const ks = model.run.map((i) => [i, model.kernels[i]]).filter(([, k]) => k.flops > 0 && k.bytes > 0 && k.us > 0);
    const xs = ks.map(([, k]) => k.flops / k.bytes), ys = ks.map(([, k]) => rate(k));
    const ridge = one.flops / one.bytes;
    const range = (values) => [Math.floor(Math.log10(Math.min(...values)) * 2) / 2 - 0.1, Math.ceil(Math.log10(Math.max(...values)) * 2) / 2 + 0.1];
    const [x0, x1] = range([...xs, ridge * 2, ridge / 8]), [y0, y1] = range([...ys, one.flops * 1.4, one.flops / 30]);
    const w = 860, h = 470, left = 60, X = (v) => left + (Math.log10(v) - x0) / (x1 - x0) * w, Y = (v) => h - (Math.log10(v) - y0) / (y1 - y0) * h;
    const powers = (a, b) => Array.from({ length: Math.floor(b) - Math.ceil(a) + 1 }, (_, k) => 10 ** (Math.ceil(a) + k));
    const grid = [
      powers(x0, x1).map((v) => [svg("line", { class: "rule", x1: X(v), x2: X(v), y1: 0, y2: h }), svg("text", { class: "tick", x: X(v), y: h + 18, "text-anchor": "middle" }, v < 1 ? String(v) : number(v))]),
      powers(y0, y1).map((v) => [svg("line", { class: "rule", x1: left, x2: left + w, y1: Y(v), y2: Y(v) }), svg("text", { class: "tick", x: left - 8, y: Y(v) + 4, "text-anchor": "end" }, v < 1 ? String(v) : number(v))])];
    const low = 10 ** x0, roof = svg("polyline", { class: "roof", points: `${X(low)},${Y(low * one.bytes)} ${X(ridge)},${Y(one.flops)} ${left + w},${Y(one.flops)}` });
    const most = Math.max(...ks.map(([, k]) => k.us), 1e-9);
    const dots = ks.sort((a, b) => b[1].us - a[1].us).map(([i, k]) => {
      const dot = svg("circle", { class: "dot", cx: X(k.flops / k.bytes), cy: Y(rate(k)), r: 3 + 13 * Math.sqrt(k.us / most), style: `fill:${PARTS[k.part]}`, data: { kernel: i }, tabindex: "-1" },
        svg("title", {}, `${k.layer} ${k.what}\n${timeText(k.us)}, ${number(rate(k), 1)} GFLOP/s of a thread, ${percent(k.roof)} of the roofline`));
      this.dots.set(i, dot);
      return dot;
    });
    const chart = svg("svg", { class: "chart", viewBox: `0 -20 ${left + w + 12} ${h + 64}`, role: "img", "aria-label": "roofline" },
      svg("clipPath", { id: "plot" }, svg("rect", { x: left, y: -20, width: w, height: h + 20 })), grid, svg("g", { "clip-path": "url(#plot)" }, roof, dots),
      svg("text", { class: "tick", x: left + w - 4, y: Y(one.flops) - 8, "text-anchor": "end" }, `${number(one.flops)} GFLOP/s`),
      svg("text", { class: "tick", x: X(low) + 14, y: Y(low * one.bytes) - 12, transform: `rotate(${-Math.atan2(h / (y1 - y0), w / (x1 - x0)) * 180 / Math.PI} ${X(low) + 14} ${Y(low * one.bytes) - 12})` }, `${number(one.bytes, 1)} GB/s from memory`),
      svg("text", { class: "tick", x: left + w / 2, y: h + 38, "text-anchor": "middle" }, "operations per byte"),
      svg("text", { class: "tick", x: 14, y: h / 2, transform: `rotate(-90 14 ${h / 2})`, "text-anchor": "middle" }, "GFLOP/s of a thread"));
    chart.addEventListener("click", (e) => {
      const i = e.target.closest("[data-kernel]")?.dataset.kernel;
      if (i !== undefined) this.app.select({ kernels: [Number(i)] }, this);
    });
    fill(this.root, el("p", { class: "note" }, "A dot is a kernel, its area the time that it takes. The distance to the line above it is what could be gained. A dot above the line reads from a cache, which is faster than memory, or is a Winograd convolution, which computes fewer operations than are counted."), chart);
    this.choose(this.app.related);
  }

  choose(related) {
    for (const [i, dot] of this.dots || []) {
      dot.classList.toggle("chosen", related.kernels.has(i));
      if (related.kernels.has(i)) dot.parentNode.append(dot);
    }
  }
}
