"""The page's data: what it says about programs, and that texts stay texts."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

import tinygraph as tg
import tinygraph.page as page_module
from tinygraph.graph.diff import differences
from tinygraph.page.page import SCRIPTS, asset, page
from tinygraph.page.record import record
from tinygraph.settings import settings
from whole_networks import WHOLE

NETWORKS = ("lenet5", "lenet5_step", "alexnet", "googlenet", "resnet50", "lstm_step", "char",
            "transformer_step")  # fmt: skip


@cache
def compiled(name: str) -> tg.Program:
    inputs, outputs, updates = WHOLE[name]()
    return tg.compile(inputs, outputs, updates=updates, name=name)


@cache
def recorded(name: str) -> dict:
    """The record of a network, as JSON gives it back."""
    return json.loads(json.dumps(record(*compiled(name).page_record()), allow_nan=False))


def lasting(data: dict) -> dict:
    """The last stage that changed something: those after it are like it."""
    return data["stages"][data["stages"][-1].get("like", -1)]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_line_of_code_leads_to_a_node_and_a_users_line(name):
    data = recorded(name)
    used = {c for k in data["kernels"] for c in k["code"]}
    assert used == set(range(len(data["code"])))
    for kernel in data["kernels"]:
        assert kernel["items"], kernel["what"]
        for lines in kernel["lines"].values():
            assert all(lines.values())
        places = {p for n in kernel["items"] for p in data["items"][n]["places"]}
        known = places | {p for p, _ in kernel["places"]}
        if kernel["part"] != "prepare":
            assert known, kernel["what"]
        found = [data["places"][place] for place in known]
        assert all(place["line"] > 0 for place in found)
        # An equal node of another program may come from a file that is gone.
        shown = [place for place in found if data["files"][place["file"]]["blocks"]]
        assert shown or not found, kernel["what"]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_node_leads_to_kernels_and_to_what_was_written(name):
    data = recorded(name)
    last, first = lasting(data), set(data["stages"][0]["items"])
    computed = {n for k in data["kernels"] for n in k["items"]}
    for n in last["items"]:
        item = data["items"][n]
        assert n in first or item.get("from") or not item["places"], item
        assert n in computed or (computed.issuperset(item["near"]) and item["near"]), item


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stage_counts_what_the_difference_counts(name):
    stages = {s["name"]: s for s in recorded(name)["stages"]}
    for a, b in pairwise(compiled(name).inspection.steps):
        found = Counter((x.sign, x.twin) for x in differences(a.graph, b.graph) if x.counts)
        counts = [len(stages[b.name][key]) for key in ("gone", "added", "changed")]
        assert counts == [found["-", False], found["+", False], found["+", True]], b.name


def test_every_asset_is_part_of_the_page_and_none_ends_a_script():
    folder = Path(page_module.__file__).parent / "assets"
    assert {p.stem for p in folder.glob("*.js")} == {*SCRIPTS}
    for path in folder.iterdir():
        text = path.read_text()
        assert asset(path.name) == text
        assert path.suffix == ".html" or "</script" not in text
        assert len(text.splitlines()) <= 350, path.name
    assert re.findall(r"(?:src|href)=", page("name", [])) == []


def test_the_page_of_a_program_from_the_store_is_that_of_a_fresh_one(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "cache", tmp_path / "cache")
    pages, fresh = [], []
    for _ in range(2):
        inputs, outputs, updates = WHOLE["lenet5"]()
        program = tg.compile(inputs, outputs, updates=updates, name="two")
        fresh.append(program.built.compiled is not None)
        pages.append(program.view(tmp_path / "page.html").read_bytes())
    assert pages[0] == pages[1] and fresh == [True, False]


def test_a_page_has_the_ending_of_one(tmp_path):
    x = tg.input("x", 3)
    program = tg.compile([x], [x * 2.0])
    with pytest.raises(ValueError, match=r"a file ending in \.html; got 'page.txt'"):
        program.view(tmp_path / "page.txt")


def test_lines_of_kernels_name_the_nodes_that_they_compute():
    data = recorded("lenet5_step")
    found: dict[str, set[str]] = {}
    for kernel in data["kernels"]:
        for code, at in kernel["lines"].items():
            for line, items in at.items():
                text = data["code"][int(code)]["lines"][int(line)].strip()
                found.setdefault(text.split(" = ")[-1], set()).update(
                    data["items"][n]["op"] for n in items
                )
    assert found["float32(0) if t2 <= float32(0) else t2"] == {"relu"}
    assert found["t2 <= float32(0.0)"] == {"less_equal"}
    assert "conv2d" in found["acc + x1"]
    ended = [t for t in found if t.startswith("acc[row] += ")]
    assert all("conv2d" in op or op == "matmul" for t in ended for op in found[t])


@pytest.mark.parametrize("name", NETWORKS)
def test_copies_stand_in_the_part_of_what_reads_them(name):
    run = [k for k in recorded(name)["kernels"] if k["part"] != "prepare"]
    for at, copy in enumerate(run):
        if copy["what"] in ("copy", "pack"):
            uses = [k for k in run[at + 1 :] if {*copy["writes"]} & {*k["reads"], *k["writes"]}]
            assert not uses or copy["part"] in {k["part"] for k in uses}, copy
            assert not uses or copy["layer"] or not any(k["layer"] for k in uses), copy
