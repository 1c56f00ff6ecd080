// The generated code of the kernels, and the user's code; lines that belong together light up.

class CodePane {
  constructor(app, root) { Object.assign(this, { app, root, model: app.model }); }

  draw() {
    const { model } = this;
    this.blocks = model.code.map((code, c) => {
      const users = model.kernels.map((k, i) => i).filter((i) => model.kernels[i].code.includes(c));
      const lines = code.lines.map((text, l) => {
        const line = el("div", { class: "line", data: { code: c, line: l } }, el("i", {}, l + 1), el("code", { dir: "ltr" }, coloured(plain(text))));
        return line;
      });
      const head = el("h3", { data: { code: c } }, code.name, " ",
        el("small", {}, users.slice(0, 3).map((i) => `${model.kernels[i].part === "prepare" ? "prepare" : "launch"} ${model.kernels[i].launch}: ${model.kernels[i].layer || model.kernels[i].what}`).join(" · "),
          users.length > 3 ? ` and ${users.length - 3} more` : ""));
      return { code: c, users, lines, element: el("section", { class: "block" }, head, code.loop ? machineCode(code.loop) : null, el("div", { class: "text" }, lines)) };
    });
    fill(this.root, this.blocks.map((b) => b.element));
    this.root.onclick = (e) => {
      const at = e.target.closest("[data-code]");
      if (at) this.pick(Number(at.dataset.code), at.dataset.line === undefined ? null : Number(at.dataset.line));
    };
    this.choose(this.app.related, true);
  }

  // A line stands for its nodes, in the kernels that have this code; the one selected, if it has it.
  pick(code, line) {
    const { users } = this.blocks[code], chosen = users.filter((i) => this.app.related.kernels.has(i));
    const kernels = chosen.length ? chosen : users;
    const items = line === null ? null : this.itemsAt(code, line, kernels);
    this.app.select(items && items.length ? { kernels, items } : { kernels }, this);
  }

  itemsAt(code, line, kernels) {
    return unique(kernels.flatMap((i) => lineItems(this.model, i, code, line)));
  }

  choose(related, reveal) {
    let first = null;
    for (const line of this.lit || []) line.classList.remove("chosen");
    this.lit = [];
    for (const b of this.blocks || []) {
      const on = b.users.filter((i) => related.kernels.has(i));
      set(b.element, "chosen", on.length > 0);
      set(b.element, "other", related.kernels.size > 0 && !on.length);
      for (const i of related.narrow ? on : []) {
        for (const [l, items] of Object.entries((this.model.kernels[i].lines || {})[b.code] || {})) {
          if (items.some((n) => related.narrow.has(n))) this.lit.push(b.lines[l]);
        }
      }
      if (on.length && !first) first = b.element;
    }
    for (const line of this.lit) line.classList.add("chosen");
    if (first && reveal) settled(() => first.scrollIntoView({ block: "start" }));
  }
}

// Blocks out of sight have a guessed height until they are near: what is scrolled to moves then.
function settled(scroll, times = 3) {
  scroll();
  if (times > 1) requestAnimationFrame(() => settled(scroll, times - 1));
}

// The innermost loop of a register tile as the processor runs it, shown when it is asked for.
function machineCode(lines) {
  const works = lines.filter((text) => /^ +(v?fn?m(add|sub)|fml|v?mulp|fmul)/.test(text)).length;
  const rows = lines.map((text) => el("div", { class: "line" }, el("code", { dir: "ltr" }, text.endsWith(":") ? text : [el("span", { class: "word" }, text.slice(0, 16)), text.slice(16)])));
  return el("details", { class: "machine" }, el("summary", {}, `Its innermost loop in machine code: ${counted(lines.length - 1, "instruction")}, of which ${number(works)} multiply`), el("div", { class: "text" }, rows));
}

// The items that a line of a kernel's code computes: its own where that is known, else all.
function lineItems(model, kernel, code, line) {
  const k = model.kernels[kernel], own = (k.lines || {})[code]?.[line];
  return own && own.length ? own : k.items;
}

const WORD = /(#.*$)|("[^"]*"|'[^']*')|\b(def|for|in|if|else|range|and|or|not|return|import|from|while|with|as|class|lambda|None|True|False|yield|del|assert|raise|try|except|is)\b|(\b\d[\w.]*)/g;

// A line of Python with its comments, texts, words and numbers in colours.
function coloured(text) {
  const found = [];
  let last = 0;
  for (const m of text.matchAll(WORD)) {
    if (m.index > last) found.push(text.slice(last, m.index));
    const kind = m[1] ? "comment" : m[2] ? "string" : m[3] ? "word" : "figure";
    found.push(el("span", { class: kind }, m[0]));
    last = m.index + m[0].length;
  }
  found.push(text.slice(last));
  return found;
}

class YoursPane {
  constructor(app, root) { Object.assign(this, { app, root, model: app.model }); }

  draw() {
    const { model } = this;
    this.lines = new Map();
    const cost = this.costs(), top = Math.max(1e-9, ...[...cost.values()].map((c) => c.share));
    const files = model.files.map((file, f) => el("section", { class: "block yours" }, el("h3", {}, el("bdi", {}, plain(file.name))),
      file.blocks.length ? file.blocks.map((block) => el("div", { class: "text" }, block.lines.map((text, k) => {
        const row = block.first + k, key = `${f}:${row}`, c = cost.get(key);
        const line = el("div", { class: `line ${c ? "builds" : ""}`, data: { at: key } },
          el("span", { class: "share", title: c ? `${c.kernels.size} kernels, ${bytesText(c.bytes)}` : null }, c ? [el("span", { class: "bar", style: `width:${Math.max(1, Math.round(44 * c.share / top))}px` }), el("b", {}, percent(c.share))] : ""),
          el("i", {}, row), el("code", { dir: "ltr" }, coloured(plain(text))));
        if (c) this.lines.set(key, line);
        return line;
      }))) : el("p", { class: "note" }, "This file could not be read when the page was made; its lines: ",
        unique(model.places.filter((p) => p.file === f).map((p) => p.line)).map((number) => {
          const key = `${f}:${number}`, line = el("a", { href: "#", data: { at: key } }, number, " ");
          this.lines.set(key, line);
          return line;
        }))));
    const what = model.timed ? "time" : "work";
    fill(this.root, el("p", { class: "note" }, `The lines that build nodes, with their share of the ${what}. A kernel that several lines share is divided by the work of their nodes.`), files);
    this.root.onclick = (e) => {
      const at = e.target.closest("[data-at]");
      if (!at) return;
      e.preventDefault();
      const places = model.atLine.get(at.dataset.at);
      if (places) this.app.select({ places }, this);
    };
    this.choose(this.app.related, true);
  }

  // For each line that builds nodes: its share of the time (else of the work), bytes, kernels.
  costs() {
    const { model } = this, found = new Map();
    const weight = (k) => (model.timed ? k.us : Math.max((k.flops || 0) / 8, k.bytes || 0));
    const total = sum(model.run.map((i) => weight(model.kernels[i]))) || 1;
    model.places.forEach((p) => found.set(`${p.file}:${p.line}`, { share: 0, bytes: 0, kernels: new Set() }));
    for (const i of model.run) {
      const k = model.kernels[i];
      for (const [p, part] of k.places) {
        const c = found.get(`${model.places[p].file}:${model.places[p].line}`);
        c.share += part * weight(k) / total;
        c.bytes += part * k.bytes;
        c.kernels.add(i);
      }
    }
    return found;
  }

  choose(related, reveal) {
    const at = new Set([...related.places].map((p) => `${this.model.places[p].file}:${this.model.places[p].line}`));
    let first = null;
    for (const [key, line] of this.lines || []) {
      line.classList.toggle("chosen", at.has(key));
      if (at.has(key) && !first) first = line;
    }
    if (first && reveal) first.scrollIntoView({ block: "nearest" });
  }
}
