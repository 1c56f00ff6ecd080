// Memory over time: the arena, address by launch; and the other buffers as a list.

class MemoryPane {
  constructor(app, root) { Object.assign(this, { app, root, model: app.model }); }

  draw() {
    const { model } = this, { buffers, arena, live } = model.memory, launches = Math.max(live.length, 1);
    const w = 900, h = 470, left = 64, sx = w / launches, sy = h / Math.max(arena, 1);
    const peak = Math.max(0, ...live), at = live.indexOf(peak);
    this.rects = new Map();
    const shown = buffers.map((b, i) => [b, i]).filter(([b]) => b.home === "arena" && b.first >= 0);
    const rects = shown.map(([b, i]) => {
      const width = Math.max((b.last - b.first + 1) * sx - Math.min(1, sx / 4), 1.5), height = Math.max(b.bytes * sy - 0.7, 1);
      const x = left + b.first * sx, y = h - (b.offset + b.bytes) * sy;
      const rect = svg("rect", { class: "buffer", x, y, width, height, rx: Math.min(3, height / 3), style: `--part:${this.part(i)}`, data: { buffer: i } }, svg("title", {}, this.text(i)));
      this.rects.set(i, rect);
      const room = Math.floor(width / 6.4);
      return [rect, height > 13 && room > 5 ? svg("text", { class: "inside", x: x + 5, y: y + height / 2 + 4 }, cut(b.name, room)) : null];
    });
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((f) => [
      svg("text", { class: "tick", x: left - 8, y: h - f * h + 4, "text-anchor": "end" }, bytesText(arena * f)),
      svg("line", { class: "rule", x1: left, x2: left + w, y1: h - f * h, y2: h - f * h })]);
    this.now = svg("rect", { class: "now", y: -6, height: h + 12 });
    const marks = unique([0, Math.floor(launches / 4), Math.floor(launches / 2), Math.floor(3 * launches / 4), launches - 1]).map((k) =>
      svg("text", { class: "tick", x: left + (k + 0.5) * sx, y: h + 18, "text-anchor": "middle" }, k));
    const H = 64, base = h + 118, area = live.map((bytes, k) => `H${left + k * sx}V${base - bytes / Math.max(peak, 1) * H}H${left + (k + 1) * sx}`).join("");
    const chart = svg("svg", { class: "chart", viewBox: `0 -26 ${left + w + 12} ${h + 168}`, role: "img", "aria-label": "the arena: addresses by launch" },
      ticks, this.now, rects, marks,
      svg("text", { class: "tick", x: left, y: h + 34 }, "launches →"),
      svg("path", { class: "area", d: `M${left} ${base}${area}V${base}Z` }),
      svg("text", { class: "tick", x: left - 8, y: base - H + 4, "text-anchor": "end" }, bytesText(peak)),
      svg("line", { class: "peak", x1: left + (at + 0.5) * sx, x2: left + (at + 0.5) * sx, y1: base - H - 4, y2: base }),
      svg("text", { class: "tick", x: Math.min(left + (at + 0.5) * sx + 6, left + w - 150), y: base - H - 6 }, `most is live in launch ${at}`),
      svg("text", { class: "tick", x: left, y: base + 18 }, "bytes that are live"));
    chart.addEventListener("click", (e) => {
      const i = e.target.closest("[data-buffer]")?.dataset.buffer;
      if (i !== undefined) this.app.select({ buffers: [Number(i)] }, this);
    });
    const facts = el("p", { class: "note" }, `The arena takes ${bytesText(arena)}; ${bytesText(model.memory.bound)} are live at the peak, which no layout can be below. `,
      model.memory.prepared ? `${bytesText(model.memory.prepared)} hold what is prepared from parameters. ` : "", this.legend());
    const rest = buffers.map((b, i) => [b, i]).filter(([b]) => b.home !== "arena").sort((a, b) => b[0].bytes - a[0].bytes);
    const alive = shown.filter(([b]) => b.first <= at && b.last >= at).sort((a, b) => b[0].bytes - a[0].bytes);
    this.lines = new Map();
    const list = (title, those) => el("section", { class: "block" }, el("h3", {}, title), el("div", { class: "text" }, those.map(([b, i]) => {
      const line = el("div", { class: "line", data: { buffer: i } }, el("i", { class: "wide" }, bytesText(b.bytes)), el("code", {}, this.text(i)));
      this.lines.set(i, line);
      return line;
    })));
    fill(this.root, facts, chart, alive.length ? list(`Alive at the peak, launch ${at}`, alive) : null, rest.length ? list("Outside of the arena", rest) : null);
    this.root.onclick = (e) => {
      const i = e.target.closest(".line[data-buffer]")?.dataset.buffer;
      if (i !== undefined) this.app.select({ buffers: [Number(i)] }, this);
    };
    this.choose(this.app.related);
  }

  // The colour of the part that writes a buffer.
  part(i) {
    const k = this.model.kernels[(this.model.writers.get(i) || [])[0]];
    return k ? PARTS[k.part] : "var(--edge)";
  }

  legend() { return el("span", { class: "legend" }, el("i", { class: "wrote" }), "written by what is selected ", el("i", { class: "read" }), "read by it"); }

  // What a buffer holds, when, and who keeps it alive.
  text(i) {
    const { model } = this, b = model.memory.buffers[i], held = (b.items || []).map((n) => model.label(model.last, n));
    const wrote = (model.writers.get(i) || []).map((k) => model.kernels[k].layer || model.kernels[k].what);
    const readers = (model.readers.get(i) || []).filter((k) => model.kernels[k].part !== "prepare");
    const last = readers.length ? model.kernels[readers.at(-1)] : null;
    const when = b.home === "arena" ? `launches ${b.first} to ${b.last}` : b.home;
    return [b.name, held.length ? held.slice(0, 3).join(", ") : "", when, wrote.length ? `written by ${unique(wrote).slice(0, 2).join(", ")}` : "",
      last ? `kept for ${SIGNS[last.part] || ""}${last.layer || last.what} (launch ${last.launch})` : ""].filter(Boolean).join(" · ");
  }

  choose(related) {
    if (!this.rects) return;
    for (const shown of [this.rects, this.lines]) for (const [i, element] of shown) {
      element.classList.toggle("wrote", related.writes.has(i));
      element.classList.toggle("read", related.reads.has(i) && !related.writes.has(i));
      element.classList.toggle("chosen", related.buffers.has(i));
    }
    const own = [...related.kernels].map((k) => this.model.kernels[k]).filter((k) => k.part !== "prepare").map((k) => k.launch);
    const sx = 900 / Math.max(this.model.memory.live.length, 1);
    this.now.setAttribute("width", own.length ? (Math.max(...own) - Math.min(...own) + 1) * sx : 0);
    this.now.setAttribute("x", 64 + (own.length ? Math.min(...own) * sx : 0));
  }
}
