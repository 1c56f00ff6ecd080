// The graph pane: boxes of a stage, or of kernels, with folding, zoom, a map and the keyboard.

const DETAIL = 0.3; // zoom below which boxes have no text
const FEW = 14; // boxes that are all shown at first
const MANY = 44; // and more than are
const MARGIN = 300; // around the view, within which boxes are drawn

class GraphPane {
  // things: see fold.js, and {title, sub, value, note, mark}; options: {colour(things) -> css,
  // onSelect(ids), label}
  constructor(root, options) {
    Object.assign(this, options, { root, open: new Set(), things: [], chosen: new Set(), hits: null });
    this.view = { x: 0, y: 0, s: 1 };
    this.canvas = svg("svg", { class: "canvas", tabindex: "0", role: "application", "aria-label": options.label });
    this.layers = { frames: svg("g"), edges: svg("g"), boxes: svg("g") };
    this.lights = { near: svg("path", { class: "near" }), around: svg("path", { class: "around" }) };
    this.scenes = [svg("g", {}, ...Object.values(this.layers)), svg("g", {}, ...Object.values(this.lights))];
    this.canvas.append(arrow(), this.scenes[0]);
    const above = svg("svg", { class: "above-all", "aria-hidden": "true" }, this.scenes[1]); // drawn alone: a selection leaves the rest as it is
    this.map = svg("svg", { class: "map", "aria-hidden": "true" });
    root.append(this.canvas, above, this.map);
    this.listen();
  }

  show(things, keep) {
    this.things = things;
    this.byId = new Map(things.map((t) => [t.id, t]));
    if (!keep) {
      this.open = new Set();
      if (things.length <= FEW) this.unfold();
    }
    this.arrange();
    if (!keep) this.open_up();
    if (!keep) this.fit();
    this.paint();
  }

  // A module with most of the forward or backward part is shown by what it is made of, while that is
  // not too much.
  open_up() {
    const most = (b) => b.children && b.things[0].part !== "update" && 2 * b.things.length > this.things.filter((t) => t.part === b.things[0].part).length;
    for (let k = 0; k < 4; k++) {
      const groups = this.drawn.boxes.filter(most), before = new Set(this.open);
      if (!groups.length) return;
      groups.forEach((g) => this.open.add(g.key));
      this.arrange();
      if (this.drawn.boxes.length <= MANY) continue;
      this.open = before;
      return this.arrange();
    }
  }

  arrange() {
    this.drawn = drawn(this.things, this.open);
    this.boxOf = new Map();
    for (const box of this.drawn.boxes) box.things.forEach((t) => this.boxOf.set(t.id, box));
    this.edgesAt = new Map(); // by the box at one of their ends
    for (const e of this.drawn.edges) for (const box of new Set([e.source, ...e.targets])) pushed(this.edgesAt, box, e);
    this.paintMap();
  }

  unfold(all = true) {
    const walk = (nodes) => nodes.forEach((n) => { if (n.children) { this.open.add(n.key); walk(n.children); } });
    this.open.clear();
    if (all) trees(this.things).forEach((lane) => walk(lane.children));
  }

  toggle(key) {
    const box = [...this.drawn.boxes, ...this.drawn.frames].find((b) => b.key === key), before = { ...this.view };
    this.open.has(key) ? this.open.delete(key) : this.open.add(key);
    this.arrange();
    const now = [...this.drawn.boxes, ...this.drawn.frames].find((b) => b.key === key);
    if (box && now) { // what was clicked stays where it is
      this.view.x = before.x + (box.X - now.X + (box.w - now.w) / 2) * before.s;
      this.view.y = before.y + (box.Y - now.Y) * before.s;
    }
    this.paint();
  }

  // ---- drawing

  paint() {
    if (!this.drawn) return;
    const { x, y, s } = this.view, { clientWidth: w, clientHeight: h } = this.canvas;
    this.size = { w, h };
    this.shift();
    this.most = Math.max(1e-9, ...this.drawn.boxes.map((b) => this.amount(b.things)));
    const all = this.drawn.boxes.length < 400 || this.printing;
    const near = (X, Y, W, H) => all || ((X + W) * s + x > -MARGIN && X * s + x < w + MARGIN && (Y + H) * s + y > -MARGIN && Y * s + y < h + MARGIN);
    const simple = s < DETAIL && !this.printing;
    fill(this.layers.frames, this.drawn.frames.slice().reverse().filter((f) => near(f.X, f.Y, f.w, f.h)).map((f) => this.frame(f)),
      this.drawn.lanes.length > 1 ? this.drawn.lanes.map((l) => laneHead(l)) : []);
    const visible = (e) => {
      const xs = e.points.map((p) => p[0]), ys = e.points.map((p) => p[1]);
      const [l, t] = [Math.min(...xs), Math.min(...ys)];
      return near(l, t, Math.max(...xs) - l, Math.max(...ys) - t);
    };
    this.labelled = new Set();
    const edges = this.drawn.edges.filter((e) => all || visible(e));
    if (all) this.layers.edges.after(this.lights.near); // below the boxes, where those are soon drawn again
    else this.scenes[1].prepend(this.lights.near);
    fill(this.layers.edges, simple ? simpleEdges(edges) : edges.map((e) => this.edge(e)));
    this.elements = new Map(this.drawn.boxes.filter((b) => near(b.X, b.Y, b.w, b.h)).map((b) => [b, simple ? this.simpleBox(b) : this.box(b)]));
    fill(this.layers.boxes, [...this.elements.values()]);
    this.mark();
    if (this.hits) this.fade();
  }

  box(b) {
    const t = b.thing, part = b.things[0].part, group = b.children, value = this.value(b.things);
    const title = b.name || t.title;
    const sub = t ? (b.name ? t.sub : t.more) : this.groupText(b);
    const room = b.w - 12 - (value ? 14 + 6.8 * value.length : 8) - (group ? 20 : 0);
    const mark = b.things.some((x) => x.mark) ? (t ? t.mark : "changed") : "";
    const g = svg("g", { class: `box ${group ? "group" : ""} ${mark}`, transform: `translate(${b.X},${b.Y})`, data: { key: b.key } },
      group ? svg("rect", { class: "behind", x: 4, y: 4, width: b.w, height: b.h }) : null,
      svg("rect", { class: "card", width: b.w, height: b.h, style: `fill:${this.colour(b.things)}` }),
      svg("rect", { class: "stripe", x: 0, y: 6, width: 4, height: b.h - 12, style: `fill:${PARTS[part]}` }),
      svg("text", { class: "name", x: 12, y: 20 }, cut(title || "?", Math.floor(room / 8.2))),
      svg("text", { class: "sub", x: 12, y: 38 }, cut(plain(sub || ""), 24)),
      value ? svg("text", { class: "value", x: b.w - (group ? 26 : 9), y: 20, "text-anchor": "end" }, value) : null,
      group ? fold("+", b.w - 20, 6) : null,
      mark ? svg("text", { class: "sign", x: b.w - 9, y: 39, "text-anchor": "end" }, { added: "+", changed: "~", gone: "−" }[mark]) : null,
      svg("title", {}, [b.name, t ? t.note : `${counted(b.things.length, "box").replace("boxs", "boxes")} inside`].filter(Boolean).join("\n")));
    return g;
  }

  simpleBox(b) {
    return svg("rect", { class: "box card simple", x: b.X, y: b.Y, width: b.w, height: b.h, style: `fill:${this.colour(b.things)}`, data: { key: b.key } });
  }

  groupText(b) {
    const words = unique(b.things.flatMap((t) => t.words)).slice(0, 4);
    return `${b.things.length} × ${words.join(", ")}`;
  }

  frame(f) {
    return svg("g", { class: "frame", transform: `translate(${f.X},${f.Y})`, data: { key: f.key } },
      svg("rect", { class: "border", width: f.w, height: f.h }),
      svg("text", { class: "name", x: 14, y: 21 }, f.name),
      fold("−", f.w - 22, 8));
  }

  edge(e) {
    const source = e.source.thing;
    const label = source && source.shape && !e.across && this.view.s > 0.7 && !this.labelled.has(e.source);
    if (label) this.labelled.add(e.source);
    return svg("g", { class: `edge ${e.across ? "across" : ""}` }, svg("path", { d: e.path, "marker-end": e.across ? null : "url(#arrow)" }),
      label ? svg("text", { x: e.points[0][0] + 7, y: e.points[0][1] + (e.points.at(-1)[1] < e.points[0][1] ? -9 : 15) }, source.shape) : null);
  }

  // Marks what is selected, and its edges.
  mark() {
    const boxes = new Set([...this.chosen].map((id) => this.boxOf.get(id)).filter(Boolean));
    const edges = unique([...boxes].flatMap((b) => this.edgesAt.get(b) || [])), around = [...boxes].map(outline).join("");
    this.lights.near.setAttribute("d", edges.map((e) => e.path).join(""));
    this.lights.around.setAttribute("d", around);
    this.spot.setAttribute("d", around);
    this.paintView();
  }

  // What the search did not find steps back.
  fade() {
    for (const [b, element] of this.elements) set(element, "faded", Boolean(this.hits) && !b.things.some((t) => this.hits.has(t.id)));
  }

  // ---- the map

  paintMap() {
    const { width, height, boxes } = this.drawn, path = boxes.map(outline).join("");
    const scale = Math.min(100 / Math.max(width, 1), 150 / Math.max(height, 1));
    this.map.setAttribute("viewBox", `0 0 ${Math.max(width, 1)} ${Math.max(height, 1)}`);
    this.map.setAttribute("width", Math.max(24, width * scale));
    this.map.setAttribute("height", Math.max(24, height * scale));
    this.here = svg("rect", { class: "here" });
    this.spot = svg("path", { class: "spot" });
    fill(this.map, svg("path", { class: "all", d: path }), this.spot, this.here);
  }

  paintView() {
    const { x, y, s } = this.view, { w, h } = this.size;
    const inside = this.drawn.width * s <= w && this.drawn.height * s <= h;
    this.map.classList.toggle("hidden", inside);
    for (const [name, value] of Object.entries({ x: -x / s, y: -y / s, width: w / s, height: h / s })) this.here.setAttribute(name, value);
  }

  // ---- the view

  fit(whole) {
    const { clientWidth: w, clientHeight: h } = this.canvas, { width, height } = this.drawn;
    const wide = (w - 40) / Math.max(width, 1), high = (h - 64) / Math.max(height, 1);
    const s = Math.min(1, whole ? Math.min(wide, high) : Math.max(Math.min(wide, high), Math.min(wide, 0.78), 0.55));
    this.view = { s, x: Math.max((w - width * s) / 2, 20), y: 20 };
    this.paint();
  }

  zoom(factor, px = this.canvas.clientWidth / 2, py = this.canvas.clientHeight / 2) {
    const s = Math.min(3, Math.max(0.03, this.view.s * factor)), f = s / this.view.s;
    this.view = { s, x: px - (px - this.view.x) * f, y: py - (py - this.view.y) * f };
    this.later();
  }

  move(dx, dy) {
    this.view.x += dx;
    this.view.y += dy;
    this.later();
  }

  shift() {
    const { x, y, s } = this.view;
    this.scenes.forEach((scene) => scene.setAttribute("transform", `translate(${x},${y}) scale(${s})`));
  }

  later() {
    this.shift();
    this.paintView();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.paint(), 80);
  }

  // Moves the view as little as it must for some boxes to be seen.
  reveal(ids) {
    const box = this.boxOf.get(ids[0]);
    if (!box) return;
    const { x, y, s } = this.view, { clientWidth: w, clientHeight: h } = this.canvas;
    const left = box.X * s + x, top = box.Y * s + y;
    const into = (from, size, room) => (from < 12 ? 40 - from : from + size > room - 12 ? room - 40 - from - size : 0);
    const aside = into(left, box.w * s, w), beyond = into(top, box.h * s, h - 30);
    this.view.x += aside;
    this.view.y += beyond;
    if (aside || beyond) this.paint(); else this.mark();
  }

  choose(ids, reveal) {
    this.chosen = new Set(ids);
    if (reveal) this.reveal(ids); else this.mark();
  }

  find(hits) {
    this.hits = hits;
    this.fade();
  }

  recolour() { this.paint(); }

  // ---- pointer and keys

  listen() {
    const { canvas } = this;
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      const r = canvas.getBoundingClientRect();
      if (e.ctrlKey || e.metaKey) this.zoom(Math.exp(-e.deltaY / 120), e.clientX - r.left, e.clientY - r.top);
      else this.move(-(e.shiftKey ? e.deltaY : e.deltaX), -(e.shiftKey ? 0 : e.deltaY));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (e) => {
      const at = [e.clientX, e.clientY];
      let moved = false;
      const move = (m) => {
        const [dx, dy] = [m.clientX - at[0], m.clientY - at[1]];
        if (!moved && Math.hypot(dx, dy) < 4) return;
        moved = true;
        at[0] = m.clientX; at[1] = m.clientY;
        this.move(dx, dy);
      };
      const up = (u) => {
        removeEventListener("pointermove", move);
        removeEventListener("pointerup", up);
        if (!moved) this.click(u.target);
      };
      addEventListener("pointermove", move);
      addEventListener("pointerup", up);
    });
    canvas.addEventListener("dblclick", (e) => {
      const key = e.target.closest("[data-key]")?.dataset.key;
      if (key && this.isGroup(key)) this.toggle(key);
    });
    canvas.addEventListener("keydown", (e) => { if (this.key(e)) { e.preventDefault(); e.stopPropagation(); } });
    this.map.addEventListener("pointerdown", (e) => {
      const r = this.map.getBoundingClientRect(), { width, height } = this.drawn;
      const [X, Y] = [(e.clientX - r.left) / r.width * width, (e.clientY - r.top) / r.height * height];
      this.view.x = canvas.clientWidth / 2 - X * this.view.s;
      this.view.y = canvas.clientHeight / 2 - Y * this.view.s;
      this.paint();
    });
  }

  isGroup(key) { return this.open.has(key) || this.drawn.boxes.some((b) => b.key === key && b.children); }

  click(target) {
    const key = target.closest?.("[data-key]")?.dataset.key;
    if (target.closest?.(".fold")) return this.toggle(key);
    const box = key && [...this.drawn.boxes, ...this.drawn.frames].find((b) => b.key === key);
    this.onSelect(box ? box.things.map((t) => t.id) : []);
    this.canvas.focus({ preventScroll: true });
  }

  current() {
    return this.drawn.boxes.find((b) => b.things.some((t) => this.chosen.has(t.id)));
  }

  // Arrow keys go to the nearest box in their direction; Enter folds and unfolds.
  key(e) {
    const here = this.current();
    const direction = { ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0] }[e.key];
    if (direction) {
      const next = here ? this.nearest(here, direction) : this.drawn.boxes[0];
      if (next) { this.onSelect(next.things.map((t) => t.id)); this.reveal([next.things[0].id]); }
    } else if (e.key === "Enter" && here?.children) this.toggle(here.key);
    else if (e.key === "Backspace" && here) {
      const outer = this.drawn.frames.filter((f) => f.things.some((t) => t.id === here.things[0].id)).sort((a, b) => a.things.length - b.things.length)[0];
      if (outer) this.toggle(outer.key);
    } else if (e.key === "+" || e.key === "=") this.zoom(1.25);
    else if (e.key === "-") this.zoom(0.8);
    else if (e.key === "0") this.fit(true);
    else return false;
    return true;
  }

  nearest(here, [dx, dy]) {
    const centre = (b) => [b.X + b.w / 2, b.Y + b.h / 2], [x, y] = centre(here);
    let best = null, least = Infinity;
    for (const b of this.drawn.boxes) {
      const [bx, by] = centre(b), along = (bx - x) * dx + (by - y) * dy, aside = Math.abs((bx - x) * dy) + Math.abs((by - y) * dx);
      const far = along + 2.2 * aside;
      if (b !== here && along > 8 && far < least) { least = far; best = b; }
    }
    return best;
  }
}

const outline = (b) => `M${Math.round(b.X)} ${Math.round(b.Y)}h${b.w}v${b.h}h${-b.w}z`;

// From far away: all edges as two lines, without tips.
const simpleEdges = (edges) => [false, true].map((across) =>
  svg("g", { class: `edge ${across ? "across" : ""}` }, svg("path", { d: edges.filter((e) => Boolean(e.across) === across).map((e) => e.path).join("") })));

function set(element, name, on) {
  if (element.classList.contains(name) !== on) element.classList.toggle(name, on);
}

const fold = (sign, x, y) => svg("g", { class: "fold", role: "button", transform: `translate(${x},${y})` },
  svg("rect", { width: 15, height: 15, rx: 4 }), svg("text", { x: 7.5, y: 11.5, "text-anchor": "middle" }, sign));

const laneHead = (l) => svg("text", { class: "lane", x: l.x + l.width / 2, y: 12, "text-anchor": "middle", style: `fill:${PARTS[l.part]}` },
  { forward: "forward ↓", backward: "backward ↑", update: "updates ↻" }[l.part]);

const arrow = () => svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" },
  svg("path", { class: "tip", d: "M0 1L7 4L0 7z" })));
