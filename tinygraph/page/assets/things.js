// What the graph pane draws: the kernels of a run, or the nodes of a stage.

// Kernels, in the order of the run; one reads another that wrote a buffer of its last.
function kernelThings(model) {
  const wrote = new Map(), read = new Set();
  return model.run.map((id) => {
    const k = model.kernels[id];
    const reads = unique(k.reads.flatMap((b) => wrote.get(b) || [])).filter((r) => r !== id);
    k.reads.forEach((b) => read.add(b));
    for (const b of k.writes) { // parts of a concatenation write one buffer one after the other
      wrote.set(b, read.has(b) ? [id] : [...(wrote.get(b) || []), id]);
      read.delete(b);
    }
    return {
      id, reads, part: k.part, path: k.layer ? k.layer.split(".") : [], title: k.what,
      sub: k.what, more: `${k.shape} ${k.how}`, shape: k.shape, words: [k.what.split(" + ")[0]], kernels: [id],
      note: [k.what, k.product, k.shape, k.how].filter(Boolean).join("\n"),
    };
  });
}

// The nodes of a stage; with `before`, those that are gone since, too.
function itemThings(model, stage, before) {
  const marks = new Map([...stage.added.map((n) => [n, "added"]), ...stage.changed.map((n) => [n, "changed"])]);
  const ids = before ? merged(before.items, stage.items, stage.gone) : stage.items;
  const reads = new Map([...(before ? before.items.map((n, k) => [n, before.reads[k]]) : []), ...stage.items.map((n, k) => [n, stage.reads[k]])]);
  const known = new Set(ids), gone = new Set(before ? stage.gone : []);
  const order = new Map(ids.map((n, k) => [n, k]));
  return ids.map((id) => {
    const n = model.items[id];
    const path = n.scope ? n.scope.split(".") : n.call ? [`${n.call}()`] : [];
    const own = gone.has(id) ? before : stage;
    return {
      id, path, part: n.part, title: n.op, sub: `${n.op} ${shapeOf(n.type)}`,
      more: `${model.label(own, id)} ${shapeOf(n.type)}`, shape: shapeOf(n.type),
      reads: (reads.get(id) || []).filter((r) => known.has(r) && order.get(r) < order.get(id)),
      words: [n.op], mark: gone.has(id) ? "gone" : marks.get(id), kernels: model.kernelsOf(id), note: model.lineText(own, id),
    };
  });
}

// Both orders in one: what is gone stays where it was.
function merged(before, after, gone) {
  const lost = new Set(gone), at = new Map(after.map((n, k) => [n, k]));
  const found = [];
  let next = 0;
  for (const n of before) {
    if (lost.has(n)) found.push(n);
    else if (at.has(n)) for (; next <= at.get(n); next++) found.push(after[next]);
  }
  return [...found, ...after.slice(next)];
}

const shapeOf = (type) => type.replace(/^f32(?=\[)/, "");

// -- colours ---------------------------------------------------------------------------------------

// The ways in which boxes can be coloured: an amount that kernels have, scaled by the most of any
// box, a share from 0 to 1, or a kernel's own colour.
function colourings(model) {
  const by = (name, f, text) => ({ name, text, scaled: true, total: (ks) => sum(ks.map(f)) });
  const found = [
    by("operations", (k) => k.flops || 0, (ks) => flopsText(sum(ks.map((k) => k.flops || 0))).replace(/ ?FLOP/, "")),
    by("bytes", (k) => k.bytes || 0, (ks) => bytesText(sum(ks.map((k) => k.bytes || 0)))),
    { name: "part", text: () => "", plain: true },
    { name: "kernel", text: () => "", tint: (k) => hue(k.launch * 8 + k.member) },
  ];
  if (model.devices.length) found.unshift({ name: "device", text: (ks) => unique(ks.map((k) => k.device)).join(" "), tint: (k) => hue(2 + model.devices.indexOf(k.device)) });
  if (model.timed) {
    found.unshift({ name: "distance from the roofline", text: (ks) => percent(roofOf(ks)), total: (ks) => Math.max(0, 1 - roofOf(ks)) ** 2 });
    found.unshift(by("time", (k) => k.us || 0, (ks) => timeText(sum(ks.map((k) => k.us || 0)))));
  }
  return found;
}

// Of several kernels: the time that they need at best over the time taken.
const roofOf = (ks) => sum(ks.map((k) => k.roof * k.us)) / (sum(ks.map((k) => k.us)) || 1);

const ran = (model, kernels) => kernels.map((i) => model.kernels[i]).filter((k) => k.part !== "prepare");

// How much of what colours show some kernels have; the most of any box is as hot as it gets.
function amountOf(model, mode, kernels) {
  return mode.scaled ? mode.total(ran(model, kernels)) : 0;
}

function colourOf(model, mode, kernels, most) {
  const ks = ran(model, kernels);
  if (!ks.length || mode.plain) return "var(--cold)";
  if (mode.tint) return ks.length === 1 ? mode.tint(ks[0]) : "var(--cold)";
  return heat(mode.total(ks) / (mode.scaled ? most : 1));
}
