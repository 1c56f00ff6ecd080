// What is selected, in a few lines above the panes.

class Card {
  constructor(app, root) { Object.assign(this, { app, root, model: app.model }); }

  choose(related, picked) {
    const { model } = this, kernels = [...related.kernels];
    const many = kernels.filter((k) => model.kernels[k].part !== "prepare");
    if (picked.items && picked.items.length === 1) return fill(this.root, this.item(picked.items[0], kernels));
    if (picked.buffers && picked.buffers.length === 1) return fill(this.root, this.buffer(picked.buffers[0]));
    if (kernels.length === 1) return fill(this.root, this.kernel(kernels[0]));
    if (many.length) return fill(this.root, this.several(many, picked));
    fill(this.root, this.whole());
  }

  facts(k) {
    const { model } = this, share = model.timed && k.us !== undefined;
    return [
      share ? [timeText(k.us), `${percent(k.us / model.total)} of the time`] : null,
      k.flops ? [flopsText(k.flops), share ? `${number(rate(k), 1)} GFLOP/s` : "operations"] : null,
      [bytesText(k.bytes), share ? `${number(k.bytes / k.us / 1e3, 1)} GB/s` : "read and written"],
      share ? [percent(k.roof), `of the roofline, bound by ${k.bound === "launch" ? "being launched" : k.bound}`] : null,
      k.device ? [k.device, "device"] : null,
      k.steps > 1 ? [`${k.steps} ×`, "in a loop"] : null,
    ].filter(Boolean).map(([value, what]) => el("span", { class: "fact" }, el("b", {}, value), what));
  }

  kernel(i) {
    const { model } = this, k = model.kernels[i];
    const name = k.code.map((c) => model.code[c].name).join(", ");
    return [
      el("h2", {}, el("bdi", {}, k.layer || k.what), k.layer ? el("span", { class: "what" }, part(k), el("bdi", {}, k.what)) : null),
      el("p", { class: "facts" }, this.facts(k)),
      el("p", {}, k.part === "prepare" ? "only when parameters have changed · " : `launch ${k.launch} · `, k.product ? `${k.product.replaceAll("x", "×")} → ` : "", el("b", {}, k.shape), ` · ${k.how}`, name ? [" · ", el("code", {}, name)] : null),
      k.why ? el("p", { class: "soft" }, k.why) : null,
      k.cards ? k.cards.map((c) => el("p", { class: "soft" }, `${c.architecture}: ${c.blocks} blocks of ${c.threads} threads, ${c.registers} registers${c.spills ? `, ${c.spills} bytes spilled` : ""}, ${bytesText(c.shared)} shared, occupancy ${percent(c.occupancy)} ${c.excess}`)) : null,
      this.places(k.places.map(([p]) => p)),
    ];
  }

  places(numbers) {
    const links = unique(numbers.map((p) => this.model.placeText(p))).slice(0, 4);
    return links.length ? el("p", { class: "soft" }, "from ", numbers.slice(0, 4).map((p, i) => [i ? ", " : "", el("a", { href: "#", onclick: (e) => { e.preventDefault(); this.app.select({ places: [p] }); this.app.open("yours"); } }, el("bdi", {}, plain(this.model.placeText(p))))]),
      numbers.length > 4 ? ` and ${numbers.length - 4} more` : "") : null;
  }

  item(n, kernels) {
    const { model, app } = this, item = model.items[n];
    const stage = model.stages[Math.min(app.stage, model.stages.length - 1)];
    const own = model.seenIn(n, stage).includes(n) ? stage : model.stages.find((s) => s.items.includes(n)) || stage;
    const first = model.stages.find((s) => s.items.includes(n)), from = item.from || [];
    const born = first && first !== model.stages[0] ? `made by ${first.name}` : "as written";
    const rule = first && first.rules.find((r) => r.items.includes(n));
    return [
      el("h2", {}, el("bdi", {}, item.source ?? item.op), el("span", { class: "what" }, item.type)),
      el("p", {}, el("code", { dir: "ltr" }, plain(model.lineText(own, n)))),
      el("p", { class: "soft" }, born, rule ? ` (${rule.name})` : "", item.scope ? ` · in ${item.scope}` : "", ` · ${item.part}`,
        from.length ? ` · comes from ${from.slice(0, 3).map((f) => model.label(model.stages[0], f) + " " + model.items[f].op).join(", ")}` : ""),
      kernels.length ? el("p", { class: "soft" }, "computed by ", kernels.slice(0, 3).map((i, k) => [k ? ", " : "", el("a", { href: "#", onclick: (e) => { e.preventDefault(); app.select({ kernels: [i] }); } }, `${model.kernels[i].layer || model.kernels[i].what} (launch ${model.kernels[i].launch})`)]), kernels.length > 3 ? ` and ${kernels.length - 3} more` : "") : null,
      this.places(item.places),
    ];
  }

  buffer(b) {
    const { model, app } = this, buffer = model.memory.buffers[b];
    return [el("h2", {}, el("bdi", {}, buffer.name), el("span", { class: "what" }, bytesText(buffer.bytes))), el("p", {}, app.panes.memory.text(b))];
  }

  several(kernels, picked) {
    const { model } = this, ks = kernels.map((i) => model.kernels[i]);
    const total = { flops: sum(ks.map((k) => k.flops)), bytes: sum(ks.map((k) => k.bytes)), us: sum(ks.map((k) => k.us || 0)), code: [], part: "" };
    total.roof = model.timed ? roofOf(ks) : 0;
    const layers = unique(ks.map((k) => k.layer)).filter(Boolean), common = shared(layers);
    const line = picked.places ? model.placeText(picked.places[0]) : "";
    const facts = [
      model.timed ? [timeText(total.us), `${percent(total.us / model.total)} of the time`] : null,
      [flopsText(total.flops), model.timed ? `${number(rate(total), 1)} GFLOP/s` : "operations"],
      [bytesText(total.bytes), "read and written"],
      model.timed ? [percent(total.roof), "of the roofline"] : null,
    ].filter(Boolean).map(([value, what]) => el("span", { class: "fact" }, el("b", {}, value), what));
    return [
      el("h2", {}, el("bdi", {}, plain(line || common || `${layers.slice(0, 3).join(", ")}${layers.length > 3 ? " …" : ""}`)), el("span", { class: "what" }, counted(kernels.length, "kernel"))),
      el("p", { class: "facts" }, facts),
    ];
  }

  whole() {
    return [el("h2", {}, "Nothing is selected"), el("p", { class: "soft" }, "Click a box, a row, a line or a rectangle: what belongs to it lights up everywhere. Keys: arrows move, Enter folds, / searches, [ and ] change the stage, 1 to 8 the pane, ? helps.")];
  }
}

// What went wrong, with a histogram of the values: above everything else.
function failure({ text, histogram }) {
  const { counts, edges, size } = histogram, most = Math.max(1, ...counts), w = 240, h = 46, step = w / Math.max(counts.length, 1);
  const strange = [["nan", "NaN"], ["inf", "infinite"], ["-inf", "−infinite"], ["zero", "zero"]].filter(([k]) => histogram[k]);
  const chart = svg("svg", { viewBox: `0 0 ${w} ${h + 16}`, width: w, height: h + 16, role: "img", "aria-label": "histogram of the values" },
    counts.map((n, k) => svg("rect", { class: "count", x: k * step, y: h - h * Math.sqrt(n / most), width: Math.max(step - 1, 1), height: h * Math.sqrt(n / most) })),
    edges.length ? [svg("text", { x: 0, y: h + 13 }, edges[0]), svg("text", { x: w, y: h + 13, "text-anchor": "end" }, edges.at(-1))] : null);
  return el("div", { class: "failure", role: "alert" }, el("div", {}, plain(text).split("\n").map((line, k) => el(k ? "code" : "b", {}, line))),
    el("div", {}, el("p", {}, `${number(size)} values: `, strange.map(([k, name]) => `${number(histogram[k])} ${name}`).join(", ") || "all finite"), chart));
}

// The dotted path that all begin with.
function shared(paths) {
  const split = paths.map((p) => p.split(".")), found = [];
  for (let k = 0; split.length && split.every((s) => s.length > k && s[k] === split[0][k]); k++) found.push(split[0][k]);
  return found.join(".");
}
