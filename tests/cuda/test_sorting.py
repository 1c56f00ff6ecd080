"""argsort on CUDA: a block sorts a row in place, or chooses its first elements one by one."""

from __future__ import annotations

import numpy as np
import pytest
from emulated import run_emulated
from small_programs import needs_toolchain

import tinygraph as tg
from compiled import graph_of
from tinygraph.ops.order import ARGSORT


@needs_toolchain
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("shape, axis, count", [
    ((3, 1), 1, 1), ((2, 5), 1, 5), ((7, 3), 0, 7), ((2, 600), 1, 600), ((2, 600), 1, 5),
    ((9,), 0, 2),
])  # fmt: skip
def test_argsort(shape, axis, count, dtype, descending):
    a = np.random.default_rng(0).integers(-9, 9, shape).astype(dtype)
    if dtype == "float32":
        a.flat[::5], a.flat[1::7] = np.nan, -0.0
    x = tg.input("x", *shape, dtype=dtype)
    y = ARGSORT(x, axis=axis, count=count, descending=descending)
    np.testing.assert_array_equal(run_emulated(graph_of(y), a)[0], tg.run(y, a))
