"""The generated module: readable Python, one file a program; a processor's also runs as it is.

Kernels first, then ``main``, which mirrors the launch table. A kernel's docstring names the nodes
that it computes.
"""

from __future__ import annotations

from textwrap import wrap

from ..graph.dump import all_labels
from ..graph.ir import Graph, Node
from ..graph.origins import origins
from ..plan.records.plan import Launch, Plan
from .program import Call, Code, KernelCode, Pointer
from .writer import escaped


def module_text(code: Code, plan: Plan, graph: Graph, lines: bool = False) -> str:
    """The module of a program; ``lines`` adds the user's lines to what a kernel computes."""
    docs: dict[int, list[str]] = {}
    names = all_labels(graph)
    for call, launch in zip(
        (*code.prepare, *code.calls), (*plan.prepare, *plan.launches), strict=True
    ):
        for work in call.work:
            text = describe(launch.members[work.member], names, lines)
            docs.setdefault(work.kernel, []).append(text)
    parts = [code.head]
    for number, kernel in enumerate(code.kernels):
        head, _, body = kernel.text.partition("\n")
        text = "\n\n    ".join(dict.fromkeys(docs.get(number, ["not launched"])))
        parts.append(f'{types_text(kernel)}{head}\n    """{text}"""\n{body}')
    parts.append(main_text(code))
    return "\n\n".join(p.rstrip("\n") + "\n" for p in parts)


def types_text(kernel: KernelCode) -> str:
    """Above a kernel whose parts are blocks of threads: how many, and its parameters' types."""
    if not kernel.signature:
        return ""
    words = f"{kernel.threads} threads a block, parameters {', '.join(kernel.signature)}"
    return "".join(f"# {line}\n" for line in wrap(words, 98))


def describe(launch: Launch, names: dict[Node, str], lines: bool) -> str:
    """Which nodes a launch computes."""
    text = [launch.name]
    for n in launch.nodes:
        if n in names:
            places = "; ".join(map(str, origins(n))) if lines else ""
            node = f"{names[n]} = {n.op.name}: {n.type}" + (f"  # {places}" if places else "")
            text += wrap(node, 96, initial_indent=" " * 8, subsequent_indent=" " * 12)
    return "\n".join(map(escaped, text))


def main_text(code: Code) -> str:
    lines = ["def main(launch, at):"]
    if code.prepare:
        lines.append("    # prepared values")
        lines += [line for call in code.prepare for line in call_text(code, call)]
    if code.calls:
        lines.append("    # the run" + f", on {' and '.join(code.devices)}" * bool(code.devices))
    loops = {x.first: x for x in code.loops}
    end = 0
    for number, call in enumerate(code.calls):
        if loop := loops.get(number):
            lines.append(f"    for t in range({loop.length}):")
            end = loop.last
        indent = "    " if number < end else ""
        device = code.devices[call.device] if code.devices else ""
        lines += [indent + line for line in call_text(code, call, device)]
    return "\n".join(lines if len(lines) > 1 else [*lines, "    pass"]) + "\n"


def call_text(code: Code, call: Call, device: str = "") -> list[str]:
    lines = [f"    # {escaped(call.name)}, in {len(call.work)}"] if len(call.work) > 1 else []
    where = f"  # {device}" if device else ""
    for work in call.work:
        steps = dict(work.steps)
        arguments = ", ".join(
            pointer_text(a, steps.get(i, 0)) if isinstance(a, tuple) else str(a)
            for i, a in enumerate(work.arguments)
        )
        name = code.kernels[work.kernel].name
        lines.append(f"    launch({name}, {work.parts}, [{arguments}]){where}")
    return lines


def pointer_text(place: Pointer, step: int = 0) -> str:
    """``step``: bytes from one step of the loop around it to the next."""
    home, number, offset = place
    moved = f" {'-' if step < 0 else '+'} {abs(step)} * t" if step else ""
    return f"at({home!r}, {number}, {offset}{moved})"
