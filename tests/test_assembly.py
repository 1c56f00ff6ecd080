"""The machine code that a page shows: the loop of a tile's reduction, and nothing else."""

from __future__ import annotations

import tinygraph as tg
from tinygraph import nn
from tinygraph.page.view import whole
from tinygraph.plan.records.contraction import Contraction
from tinygraph_cpu.machine.assembly import inner_loop, sums

X86 = """
	.text
f:                                      # @f
	.cfi_startproc
	movq	%rdi, %rax
.LBB0_1:                                # copies
	vmovups	(%rdi), %zmm0
	decq	%rax
	jne	.LBB0_1
	.p2align	4
.LBB0_2:                                # outer
	xorl	%eax, %eax
.LBB0_3:                                #   inner
	#APP
	#NO_APP
	vfmadd231ps	(%rdi,%rcx){1to16}, %zmm1, %zmm31 # zmm31 = mem
	vfmadd231ps	(%rdi){1to16}, %zmm1, %zmm30
	decq	%r10
	jne	.LBB0_3
	vfmadd231ps	(%rdi), %zmm1, %zmm30
	jne	.LBB0_2
.LBB0_4:                                # an epilogue: a polynomial of what was loaded
	vmovaps	%zmm9, %zmm0
	vmovaps	%zmm9, %zmm1
	vmovaps	%zmm9, %zmm2
	vfmadd213ps	%zmm4, %zmm3, %zmm0
	vfmadd213ps	%zmm4, %zmm3, %zmm1
	vfmadd213ps	%zmm4, %zmm3, %zmm2
	jne	.LBB0_4
"""
ARM = """
_f:
LBB0_1:                                 ; copies
.LBB0_2:
	ldr	q0, [x0], #16
	fmla	v0.4s, v1.4s, v2.s[0]           // sum
	subs	x8, x8, #1
	b.ne	.LBB0_2
"""


def test_the_loop_that_sums_without_those_around_it():
    text = inner_loop(X86)
    assert text[0] == ".LBB0_3:" and [line.split()[0] for line in text[1:]] == [
        "vfmadd231ps", "vfmadd231ps", "decq", "jne"
    ]  # fmt: skip
    assert text[1].split(maxsplit=1)[1] == "(%rdi,%rcx){1to16}, %zmm1, %zmm31"


def test_of_other_processors_too():
    assert [line.split()[0] for line in inner_loop(ARM)] == [
        ".LBB0_2:", "ldr", "fmla", "subs", "b.ne"
    ]  # fmt: skip
    assert inner_loop(ARM)[1].endswith("[x0], #16")


def test_code_without_such_a_loop_has_none():
    assert inner_loop("f:\n\tret\n") == [] == inner_loop("")


def product(backend: str) -> tg.Program:
    x = tg.input("x", 64, 96)
    return tg.compile([x], [tg.tanh(nn.Linear(96, 80)(x)) * 2.0], backend=backend)


def test_a_page_has_the_loop_that_fills_the_tile():
    program = product("cpu")
    code = whole(*program.page_record())["code"]
    records = [k.record for k in program.inspection.code.kernels]
    tiles = [(c, r) for c, r in zip(code, records, strict=True) if isinstance(r, Contraction)]
    assert tiles
    for c, record in tiles:
        assert c["loop"][0][:-1] in c["loop"][-1]
        assert sums(c["loop"]) == record.rows * record.vectors


def test_a_backend_without_one_has_pages_too():
    assert all("loop" not in c for c in whole(*product("cuda:emulate").page_record())["code"])
