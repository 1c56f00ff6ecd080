"""The language of kernels, by statements: compiled, each does what its text does in Python."""

import ctypes
import re

import numpy as np
import pytest

pytest.importorskip("tinygraph_cpu.machine.features")
from tinygraph.codegen import python
from tinygraph.graph.dtype import DTYPES
from tinygraph_cpu.loops import kernels
from tinygraph_cpu.machine import features, loading

PROLOGUE = """def kernel(part, tid, args):
    y = view_float32(args[0])
    x = view_float32(args[1])
    k = view_int32(args[2])
    b = view_bool(args[3])
    n = args[4]
"""
N = 11
STATEMENTS = """
# for
for i in range(n):
    y[i] = x[i] * 2.0
# for_from
for i in range(3, n):
    y[i] = x[i] - 1.0
# for_by
for i in range(1, n, 3):
    y[i] = x[i]
# for_down
for i in range(n - 1, 2, -2):
    y[i] = float32(i)
# for_none
for i in range(n, 2):
    y[i] = 1.0
# the_body_does_not_move_the_loop
for i in range(n):
    at = i
    i = 0
    y[at] = x[i]
# what_a_loop_leaves
i = 7
for i in range(3):
    y[i] = x[i]
y[i + 1] = float32(i)
# nested
for i in range(3):
    for j in range(i):
        y[i * 3 + j] = x[j] + float32(i)
# while
i = 0
while i < n and x[i] < 5.0:
    y[i] = x[i]
    i += 1
# short_and
for i in range(n):
    if i + 1 < n and x[i + 1] > 0.0 and b[i + 1]:
        y[i] = 1.0
# short_or
for i in range(n):
    if i + 1 >= n or x[i + 1] > 0.0:
        y[i] = 1.0
# no_memory_no_branch
for i in range(n):
    if i > 2 and i < 7 or i == 9:
        y[i] = 1.0
# choice_of_memory
for i in range(n):
    y[i] = x[i + 1] if i + 1 < n else -1.0
# choice
for i in range(n):
    t = x[i]
    y[i] = t if t > 0.0 else 0.0
# choice_of_literals
for i in range(n):
    y[i] = 1.0 if b[i] else 2.0
# elif
for i in range(n):
    if i < 3:
        y[i] = 1.0
    elif i < 6:
        y[i] = 2.0
    else:
        y[i] = 3.0
# break
for i in range(n):
    if i == 4:
        break
    y[i] = 1.0
# continue
for i in range(n):
    if i % 2 == 0:
        continue
    y[i] = 1.0
# break_of_the_inner
for i in range(3):
    for j in range(3):
        if j > i:
            break
        y[i * 3 + j] = 1.0
# break_of_while
i = 0
while True:
    i += 2
    if i > 7:
        break
    y[i] = 1.0
# chain
for i in range(n):
    y[i] = 1.0 if 2 <= i < 7 else 0.0
# elements_that_add
for i in range(n):
    y[0] += x[i]
    y[1] *= 0.5
# integers_of_two_widths
for i in range(n):
    y[(k[i] + i) % n] = float32(k[i] * i)
# rounding_down
for i in range(n):
    y[i] = float32((k[i] - 5) // 3) + float32((k[i] - 5) % -3)
# bits
for i in range(n):
    y[i] = float32(((k[i] << 2) ^ 5) & ~1 | k[i] >> 1)
# bools
for i in range(n):
    b[i] = not b[i] or x[i] > 1.0
    y[i] = float32(b[i])
# stack
s = stack_float32(4)
for i in range(4):
    s[i] = x[i]
for i in range(4):
    y[i] = s[3 - i]
# sum
t = 0.0
for i in range(n):
    t = t + x[i]
y[0] = t
# count
c = 0
for i in range(n):
    if x[i] > 0.0:
        c += 1
y[0] = float32(c)
# limits
for i in range(n):
    y[i] = maximum(minimum(x[i], 1.0), -0.5) + float32(max(min(i, 7), 2))
# powers
for i in range(n):
    y[i] = x[i] ** 3 + float32(k[i] ** 2)
# passing
pass
"""
BODIES = dict(re.findall(r"# (\w+)\n((?:[^#].*\n)+)", STATEMENTS))


def arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=N).astype(np.float32) * 2
    return np.zeros(N, np.float32), x, rng.integers(0, 9, N).astype(np.int32), rng.random(N) < 0.5


def run_compiled(source, symbol, arguments):
    code = kernels.compile_kernels(source, {"kernel": symbol}, features.detect())["kernel"]
    loaded = loading.load({symbol: code})
    words = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    block = np.array(words, np.int64)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    kind(loaded.addresses[symbol])(0, 0, block.ctypes.data)


def run_as_python(source, arguments):
    scope = {name: getattr(python, name) for name in python.__all__}
    scope |= {f"view_{dtype}": lambda array: array for dtype in DTYPES}
    exec(source, scope)
    scope["kernel"](0, 0, arguments)


@pytest.mark.parametrize("name", BODIES)
def test_a_statement_does_what_it_does_in_python(name):
    source = PROLOGUE + "".join(f"    {line}\n" for line in BODIES[name].splitlines())
    found, wanted = arrays(), arrays()
    run_compiled(source, f"test_loops_{name}", [*found, N])
    run_as_python(source, [*wanted, N])
    assert name in ("passing", "for_none") or any(map(np.any, (wanted[0], wanted[3])))
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
