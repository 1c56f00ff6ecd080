"""Tensor cores and asynchronous copies in the emulator: values, and what is wrong with a schedule.

A block of two warps multiplies [16, k] and [k, 16] in steps of 16 through three stages of shared
memory: warp 0 copies A, warp 1 copies B, and each computes eight columns. The schedule of copies,
waits and barriers is written out, so that each of them can be left out. It is PTX by hand: neither
numba-cuda nor a GPU is needed.
"""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from ptx_emulator import Counters, DivergentWarp, Fault, Kernel, Memory, Race, Unfinished
from ptx_emulator.faults import UnsupportedInstruction

STAGES = 3
HEAD = """
.version 8.0
.target sm_80
.address_size 64
.visible .entry pipeline(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 pitch)
{
    .shared .align 16 .b8 tile[3072];
    .reg .pred %first;
    .reg .b32 %t, %warp, %lane, %row, %part, %rows, %step, %to, %left, %right, %x, %y;
    .reg .b32 %a<4>, %b<2>;
    .reg .f32 %c<4>;
    .reg .b64 %pa, %pb, %pc, %from, %wide;
    mov.u32 %t, %tid.x;
    shr.u32 %warp, %t, 5;
    and.b32 %lane, %t, 31;
    ld.param.u64 %pa, [a];
    ld.param.u64 %pb, [b];
    ld.param.u64 %pc, [c];
    ld.param.u32 %rows, [pitch];
    setp.eq.u32 %first, %warp, 0;
    selp.b32 %rows, %rows, 32, %first;
    selp.b32 %step, 32, 512, %first;
    selp.b64 %from, %pa, %pb, %first;
    shr.u32 %row, %lane, 1;
    and.b32 %part, %lane, 1;
    mul.lo.u32 %x, %row, %rows;
    shl.b32 %y, %part, 4;
    add.u32 %x, %x, %y;
    cvt.u64.u32 %wide, %x;
    add.u64 %from, %from, %wide;
    mov.u32 %to, tile;
    shl.b32 %x, %t, 4;
    add.u32 %to, %to, %x;
    and.b32 %x, %lane, 15;
    shl.b32 %x, %x, 5;
    mov.u32 %left, tile;
    add.u32 %left, %left, %x;
    shl.b32 %y, %warp, 4;
    add.u32 %right, %left, %y;
    shr.u32 %y, %lane, 4;
    shl.b32 %y, %y, 4;
    add.u32 %left, %left, %y;
    mov.f32 %c0, 0f00000000;
    mov.f32 %c1, %c0;
    mov.f32 %c2, %c0;
    mov.f32 %c3, %c0;
"""
TAIL = """
    shr.u32 %row, %lane, 2;
    and.b32 %part, %lane, 3;
    shl.b32 %x, %row, 6;
    shl.b32 %y, %warp, 5;
    add.u32 %x, %x, %y;
    shl.b32 %y, %part, 3;
    add.u32 %x, %x, %y;
    cvt.u64.u32 %wide, %x;
    add.u64 %pc, %pc, %wide;
    st.global.v2.f32 [%pc], {%c0, %c1};
    st.global.v2.f32 [%pc+512], {%c2, %c3};
    ret;
}
"""
ADVANCE = "cvt.u64.u32 %wide, %step; add.u64 %from, %from, %wide;"
WAIT, COMMIT, BARRIER = "cp.async.wait_group 1;", "cp.async.commit_group;", "bar.sync 0;"


def copy(stage: int) -> str:
    return f"cp.async.cg.shared.global [%to+{1024 * stage}], [%from], 16; {ADVANCE}"


def multiply(stage: int, kind: str = "bf16") -> str:
    at, product = 1024 * stage, f"mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32"
    sums = "{%c0, %c1, %c2, %c3}"
    return (
        f"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%a0, %a1, %a2, %a3}}, [%left+{at}];"
        f"ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {{%b0, %b1}}, [%right+{at + 512}];"
        f"{product} {sums}, {{%a0, %a1, %a2, %a3}}, {{%b0, %b1}}, {sums};"
    )


def good(steps: int, kind: str = "bf16") -> list[list[str]]:
    """What is done before the first step, and in each: three stages, two of them on their way."""
    found = [[copy(0), COMMIT, copy(1), COMMIT]]
    for t in range(steps):
        ahead = [copy((t + 2) % STAGES)] if t + 2 < steps else []
        found.append([WAIT, BARRIER, *ahead, COMMIT, multiply(t % STAGES, kind)])
    return found


def run(schedule: list[list[str]], dtype: str, steps: int, **options) -> tuple[np.ndarray, ...]:
    """(result, A, B): A and B are wide, of what was multiplied."""
    rng = np.random.default_rng(0)
    a, b = (tg.astype(rng.standard_normal(s), dtype) for s in ((16, 16 * steps), (16 * steps, 16)))
    memory = Memory()
    places = [memory.upload(x.view(np.uint16), name) for x, name in ((a, "a"), (b, "b"))]
    out = memory.allocate(16 * 16 * 4, "c")
    lines = "\n".join(line for part in schedule for line in part)
    kernel = Kernel(HEAD + lines + TAIL)
    kernel(memory, 1, 64, [*places, out, 2 * a.shape[1]], **options)
    return memory.read(out, (16, 16), "float32"), *(tg.astype(x, "float64") for x in (a, b))


@pytest.mark.parametrize("steps", [2, 3, 7])
@pytest.mark.parametrize("dtype, kind", [("bfloat16", "bf16"), ("float16", "f16")])
def test_products(dtype, kind, steps):
    found, a, b = run(good(steps, kind), dtype, steps)
    np.testing.assert_allclose(found, a @ b, rtol=1e-6, atol=1e-5)


def without(schedule: list[list[str]], line: str, count: int = 99) -> list[list[str]]:
    """The schedule, from whose steps a line is left out."""
    return [schedule[0], *([x for x in part if x != line] for part in schedule[1:])]


def planted() -> dict[str, tuple[list[list[str]], type[Fault], str, str]]:
    """A schedule, the fault, its words, and the instruction that it names."""
    start, *steps = good(6)
    late = [["cp.async.wait_group 2;" if x == WAIT else x for x in part] for part in steps]
    after = [[WAIT, BARRIER, multiply(t % 3), copy(t % 3), COMMIT] for t in range(3)]
    two = [[WAIT, BARRIER, copy(t % 2), COMMIT, multiply(t % 2)] for t in range(3)]
    unfinished, copied = "is still copying", "copied with no barrier between"
    return {
        "no wait": (without([start, *steps], WAIT), Unfinished, f"reads what .* {unfinished}",
                    "ldmatrix"),
        "a wait for too few groups": ([start, *late], Unfinished, f"reads what .* {unfinished}",
                                      "ldmatrix"),
        "no commit": ([[copy(0), copy(1), COMMIT], *steps], Unfinished, unfinished, "ldmatrix"),
        "no barrier after the wait": (without([start, *steps], BARRIER), Race,
                                      f"reads what thread .* {copied}", "ldmatrix"),
        "refilled while it is read": ([start, *two], Unfinished, unfinished, "ldmatrix"),
        "refilled before others have read it": (
            [[copy(0), COMMIT, copy(1), COMMIT], *after], Race,
            "begins to copy over what .* has read with no barrier between", "cp.async"),
        "two copies to one place": ([[copy(0), COMMIT, copy(0), COMMIT], *steps], Unfinished,
                                    f"copies to what .* {unfinished}", "cp.async"),
    }  # fmt: skip


@pytest.mark.parametrize("name", planted())
def test_planted_faults_are_named(name):
    schedule, kind, words, instruction = planted()[name]
    with pytest.raises(kind, match=words) as caught:
        run(schedule, "bfloat16", 6)
    assert type(caught.value) is kind and caught.value.instruction.startswith(instruction)
    assert caught.value.kernel == "pipeline" and "thread" in caught.value.detail


def test_values_come_with_the_wait_and_not_before():
    """Without checks, what is read too early is what was there: copies end as late as allowed."""
    late = without(good(3), WAIT)
    found, a, b = run(late, "bfloat16", 3, check=False)
    assert not np.allclose(found, a @ b, atol=1e-2)


def test_zeros_follow_what_is_there():
    """The fourth operand is how many bytes are read; beyond the end of memory there may be none."""
    steps = 2
    lines = [[x.replace("[%from], 16", "[%from], 16, %x") for x in part] for part in good(steps)]
    lines[0].insert(0, "shr.u32 %x, %lane, 1; and.b32 %x, %x, 1; mul.lo.u32 %x, %x, 6;")
    found, a, b = run(lines, "bfloat16", steps)
    keep = np.arange(8) < 3  # 6 bytes of 16, in odd rows only
    odd = np.arange(16) % 2 == 1
    a = a * (odd[:, None] & np.tile(keep, 2 * steps))
    b = b * (np.tile(odd, steps)[:, None] & np.tile(keep, 2))
    np.testing.assert_allclose(found, a @ b, rtol=1e-6, atol=1e-5)


def test_bank_conflicts_of_matrix_loads_are_counted():
    """Of eight rows of 32 bytes four fall on the same banks as the others; copies do not."""
    counters = Counters()
    run(good(2), "bfloat16", 2, counters=counters)
    assert {t.used / t.least for t in counters.passes.values()} == {1, 2}


SINGLE = """
.version 8.0
.target sm_80
.address_size 64
.visible .entry single(.param .u64 a, .param .u64 b, .param .u64 d)
{{
    .reg .b32 %a<4>, %b<2>, %t, %x;
    .reg .{reg} %c<4>;
    .reg .b64 %pa, %pb, %pd, %wide;
    mov.u32 %t, %tid.x;
    ld.param.u64 %pa, [a];
    ld.param.u64 %pb, [b];
    ld.param.u64 %pd, [d];
    shl.b32 %x, %t, 4;
    cvt.u64.u32 %wide, %x;
    add.u64 %pa, %pa, %wide;
    add.u64 %pd, %pd, %wide;
    ld.global.v4.b32 {{%a0, %a1, %a2, %a3}}, [%pa];
    shl.b32 %x, %t, 3;
    cvt.u64.u32 %wide, %x;
    add.u64 %pb, %pb, %wide;
    ld.global.v2.b32 {{%b0, %b1}}, [%pb];
    ld.global.v4.{reg} {{%c0, %c1, %c2, %c3}}, [%pd];
    {line}
    st.global.v4.{reg} [%pd], {{%c0, %c1, %c2, %c3}};
    ret;
}}
"""
ZEROS = (*(np.zeros((32, n), np.uint32) for n in (4, 2)), np.zeros((32, 4), np.float32))
SUMS, OPERANDS = "{%c0, %c1, %c2, %c3}", "{%a0, %a1, %a2, %a3}, {%b0, %b1}"


def single(kind: str, shape: str, a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int = 32):
    """One instruction on given registers: (32, 4), (32, 2) words and (32, 4) sums."""
    total = "f32" if c.dtype == np.float32 else "s32"
    line = f"mma.sync.aligned.{shape}.row.col.{total}.{kind}.{kind}.{total} "
    line += f"{SUMS}, {OPERANDS}, {SUMS};"
    memory = Memory()
    places = [memory.upload(x, n) for x, n in ((a, "a"), (b, "b"), (c, "d"))]
    kernel = Kernel(SINGLE.format(line=line, reg="f32" if total == "f32" else "b32"))
    kernel(memory, 1, threads, places)
    return memory.read(places[2], (32, 4), c.dtype)


@pytest.mark.parametrize("kind, shape, each", [("tf32", "m16n8k8", 1), ("s8", "m16n8k32", 4)])
def test_fragments(kind, shape, each):
    """Against PTX's figures, element by element: row, column and k of each lane's registers."""
    rng, k = np.random.default_rng(1), 8 * each
    dtype = np.int8 if kind == "s8" else np.float32
    a, b = (rng.integers(-9, 9, s).astype(dtype) for s in ((16, k), (k, 8)))
    words_a, words_b = np.empty((32, 4, each), dtype), np.empty((32, 2, each), dtype)
    for lane in range(32):
        group, place = lane // 4, lane % 4
        for e in range(each):
            for r in range(4):
                at = place * each + e + (r >= 2) * 4 * each
                words_a[lane, r, e] = a[group + 8 * (r % 2), at]
            for r in range(2):
                words_b[lane, r, e] = b[place * each + e + r * 4 * each, group]
    c = rng.integers(-5, 5, (32, 4)).astype(np.int32 if kind == "s8" else np.float32)
    shapes = [x.reshape(32, -1).view(np.uint32).reshape(32, -1) for x in (words_a, words_b)]
    found, want = single(kind, shape, *shapes, c), a.astype(int) @ b.astype(int)
    for lane in range(32):
        for r in range(4):
            row, column = lane // 4 + 8 * (r // 2), 2 * (lane % 4) + r % 2
            assert found[lane, r] == want[row, column] + c[lane, r]


def test_a_warp_must_be_whole():
    with pytest.raises(DivergentWarp, match="needs its whole warp, of which lane 20 is elsewhere"):
        single("bf16", "m16n8k16", *ZEROS, threads=20)


def test_other_shapes_are_refused():
    with pytest.raises(UnsupportedInstruction, match="m16n8k32"):
        single("bf16", "m16n8k32", *ZEROS)
