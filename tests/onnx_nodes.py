"""The official node tests of the onnx package: cases, and what running one means."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

import tinygraph as tg
from tinygraph.graph.convert import as_array
from tinygraph.graph.dtype import DTYPES, name_of, widened
from tinygraph.graph.interpret import run
from tinygraph.onnx.module import OnnxModule
from tinygraph.onnx.reading.file import from_proto

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
FOLDERS = ("simple", "pytorch-operator", "pytorch-converted")


@dataclass(frozen=True)
class Case:
    """A model, and pairs of input and output arrays."""

    name: str
    model: onnx.ModelProto
    sets: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float

    @property
    def operators(self) -> list[str]:
        return [n.op_type for n in self.model.graph.node]


@cache
def cases() -> dict[str, Case]:
    """All cases by name, 2,024 in onnx 1.23."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = [
            Case(c.name, c.model, c.data_sets, c.rtol, c.atol) for c in collect_testcases(None)
        ]
    for folder in FOLDERS:
        found += [_stored(p) for p in sorted((DATA / folder).iterdir()) if p.is_dir()]
    return {c.name: c for c in found}


def _stored(folder: Path) -> Case:
    model = onnx.load(folder / "model.onnx")
    sets = []
    for data in sorted(folder.glob("test_data_set_*")):
        inputs, outputs = (
            [_read(p) for p in sorted(data.glob(f"{kind}_*.pb"), key=_number)]
            for kind in ("input", "output")
        )
        sets.append((inputs, outputs))
    return Case(f"{folder.parent.name}/{folder.name}", model, sets, 1e-3, 1e-5)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def _read(path: Path) -> Any:
    proto = onnx.TensorProto()
    try:
        proto.ParseFromString(path.read_bytes())
        return numpy_helper.to_array(proto)
    except Exception:
        sequence = onnx.SequenceProto.FromString(path.read_bytes())
        return numpy_helper.to_list(sequence)


def array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list):
        return [array(v) for v in value]
    return np.asarray(value) if np.isscalar(value) else value


def elements(case: Case) -> int:
    """Of all inputs and outputs of the first set."""
    return sum(np.size(v) for v in _flat([array(v) for each in case.sets[0] for v in each]))


def check(case: Case, backend: str | None = None) -> None:
    """Imports a case's model, runs it and compares all outputs.

    Inputs whose values shapes depend on, as the import's error says, are given as constants:
    backends of the ONNX project may look at them, too.

    Args:
        backend: compiles the graph for it; None: the interpreter runs it.
    """
    for inputs, outputs in case.sets:
        record = from_proto(case.model, case.name)
        names = [v.name for v in case.model.graph.input]
        arrays = {n: array(v) for n, v in zip(names, inputs, strict=False)}
        module, given, made = _built(record, arrays)
        nodes, values = _flat(given), _flat([arrays[v.name] for v in module.inputs])
        flat, wanted = _flat(list(made)), list(map(array, outputs))
        assert [isinstance(m, list) for m in made] == [isinstance(w, list) for w in wanted]
        if backend is None:
            got = run(tg.Graph("case", tuple(nodes), tuple(flat)), *values)
        else:
            got = list(tg.compile(nodes, flat, backend=backend)(*values)) if flat else []
        for g, want in zip(got, _flat(wanted), strict=True):
            if want is not None:
                compare(case, g, np.asarray(want))


def _flat(values: Any) -> list[Any]:
    """Without what is left out, and the elements of sequences."""
    if isinstance(values, list):
        return [v for each in values for v in _flat(each)]
    return [] if values is None else [values]


def _built(record: Any, arrays: dict[str, Any]) -> tuple[OnnxModule, list[Any], tuple[Any, ...]]:
    constants: dict[str, Any] = {}
    while True:
        module = OnnxModule(record, constants)
        nodes = [_input(v.name, arrays[v.name]) for v in module.inputs]
        try:
            made = module(*nodes)
        except tg.onnx.OnnxError as error:
            wanted = re.search(r"depends on the input '([^']*)'", str(error))
            if wanted is None or wanted[1] in constants:
                raise
            constants[wanted[1]] = arrays[wanted[1]]
            continue
        return module, nodes, made if isinstance(made, tuple) else (made,)


def _input(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_input(f"{name}{i}", v) for i, v in enumerate(value)]
    return None if value is None else tg.input(name, *value.shape, dtype=value.dtype.name)


def compare(case: Case, got: np.ndarray, want: np.ndarray) -> None:
    want = as_array(want)  # ml_dtypes' bfloat16 as ours
    assert (got.shape, got.dtype) == (want.shape, want.dtype), case.name
    eps = DTYPES[name_of(want.dtype)].eps if want.dtype.kind in "fV" else 0
    got, want = widened(got), widened(want)
    if want.dtype.kind == "f":
        rounding = 1e-7 * float(np.nanmax(np.abs(want), initial=0, where=np.isfinite(want)))
        atol = max(case.atol, rounding)
        rtol = max(case.rtol, 2 * eps)  # of 16 bits, results of two roundings may differ so much
        np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, err_msg=case.name)
    else:
        np.testing.assert_array_equal(got, want, err_msg=case.name)


# -- what is refused -------------------------------------------------------------------------------

REFUSED = Path(__file__).parent / "golden" / "onnx_refused.txt"
REASONS = {  # by what the error says: what stands in the table
    r"requires a dtype of|requires (\w+), which tinygraph lacks|input of (\w+), which": (
        "a dtype that tinygraph lacks"
    ),
    r"(\S+) \(([\w.:]+)\): is an operator that tinygraph lacks": "the operator {2}",
    r"needs \d+ operators? that tinygraph lacks: ([\w.:]+)": "the operator {1}",
    r"draws": "random numbers, which differ by definition",
}
DRAWN = ("test_training_dropout", "test_bernoulli")  # random numbers, by the first letters


def reason(error: Exception) -> str:
    """The kind of a refusal."""
    for pattern, text in REASONS.items():
        if found := re.search(pattern, str(error)):
            return text.format(found[0], *found.groups())
    return str(error)


def refused() -> dict[str, str]:
    """Why each case that is refused is, by name."""
    found = {}
    for line in REFUSED.read_text().splitlines():
        name, _, why = line.partition("  ")
        found[name] = why
    return found


def table() -> str:
    """The text of ``REFUSED``: runs all cases.

    Raises:
        AssertionError: one is neither right nor refused.
    """
    lines = []
    for name, case in cases().items():
        try:
            if name.startswith(DRAWN) and "zero" not in name:
                raise tg.onnx.OnnxError(f"{name} draws")
            check(case)
        except (tg.onnx.OnnxError, tg.ShapeError) as error:
            lines.append(f"{name}  {reason(error)}\n")
    return "".join(lines)


if __name__ == "__main__":  # PYTHONPATH=.:backends:tests python tests/onnx_nodes.py
    REFUSED.write_text(table())
