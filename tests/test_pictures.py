"""Pictures without a browser, traces, and JSON: well-formed, and with what they are about."""

from __future__ import annotations

import json
import re
import xml.dom.minidom

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models, nn
from tinygraph.__main__ import main
from tinygraph.page.drawing import Box, layered
from whole_networks import WHOLE


@pytest.fixture(scope="module")
def step() -> tg.Program:
    inputs, outputs, updates = WHOLE["lenet5_step"]()
    program = tg.compile(inputs, outputs, updates=updates, name="step")
    program.profile(*[np.zeros(n.shape, n.dtype) for n in inputs], repeat=1)
    return program


@pytest.mark.parametrize("what", ["kernels", "memory", "roofline"])
def test_a_picture_is_well_formed(step, tmp_path, what):
    text = step.save_svg(tmp_path / "net.svg", what).read_text()
    picture = xml.dom.minidom.parseString(text).documentElement
    assert picture.tagName == "svg" and len(picture.getElementsByTagName("text")) > 3
    if what == "kernels":
        assert ">conv1<" in text and ">fc3<" in text
    kind = {"kernels": "path", "memory": "rect", "roofline": "circle"}[what]
    assert len(picture.getElementsByTagName(kind)) > 5


def test_names_in_pictures_stay_text(tmp_path):
    x = tg.input("x", 4, 8)
    with tg.scope('<b> & "c" 🧠'):
        program = tg.compile([x], [tg.relu(nn.Linear(8, 8)(x))], name="</svg>")
    for what in ("kernels", "memory"):
        xml.dom.minidom.parseString(program.save_svg(tmp_path / "a.svg", what).read_text())
    assert "<b>" not in program._repr_html_().replace("&lt;b&gt;", "")


def picture_in(html: str) -> xml.dom.minidom.Element:
    return xml.dom.minidom.parseString(re.search("<svg.*?</svg>", html, re.DOTALL)[0])


def test_notebooks_show_nodes_graphs_and_programs_folded_by_layer(step):
    net, x = models.googlenet(), tg.input("image", 1, 3, 224, 224)
    for value, layers in (
        (net(x), {"conv1", "inception4a"}), (step.graph, {"conv1", "fc3"}), (step, {"conv1", "fc3"})
    ):  # fmt: skip
        html = value._repr_html_()
        names = [t.firstChild.data for t in picture_in(html).getElementsByTagName("text")]
        assert layers <= {*names}
        assert len(names) < 120 and "conv2d" in html
        rules = re.findall(r"([^{}<>]+)\{", re.search("<style>(.*?)</style>", html)[1])
        assert rules and all(rule.startswith(".tinygraph ") for rule in rules)
    for node in (x, tg.zeros(3), x + 1.0, net.fc.weight):
        picture_in(node._repr_html_())


def test_notebooks_show_modules_as_trees_to_unfold():
    small, large = models.lenet5()._repr_html_(), models.googlenet()._repr_html_()
    assert "<b>conv1</b> <code>Conv2d(1, 6, " in small and "61,706 parameters" in small
    assert small.count("<details open>") == 1 == large.count("<details open>")
    assert large.count("<details>") > 9
    odd = nn.Sequential(**{"<b>": nn.Linear(2, 2)})
    xml.dom.minidom.parseString(f"<p>{odd._repr_html_().replace(' open', '')}</p>")
    assert "&lt;b&gt;" in odd._repr_html_()


def test_what_cannot_be_drawn_is_said(tmp_path):
    x = tg.input("x", 3)
    program = tg.compile([x], [x * 2.0])
    with pytest.raises(ValueError, match="a roofline needs times"):
        program.save_svg(tmp_path / "a.svg", "roofline")
    with pytest.raises(ValueError, match="no picture 'graph'; there is kernels, memory, roofline"):
        program.save_svg(tmp_path / "a.svg", "graph")
    with pytest.raises(ValueError, match=r"ending in \.svg; got 'a.png'"):
        program.save_svg(tmp_path / "a.png")


def test_edges_point_down_and_boxes_keep_apart():
    edges = [(a, b) for b in range(40) for a in (b // 2, b // 3) if a < b]
    boxes = [Box(100, 40) for _ in range(40)]
    width, height = layered(boxes, edges)
    assert all(boxes[a].y + 40 < boxes[b].y for a, b in edges)
    for i, a in enumerate(boxes):
        assert 0 <= a.x <= width - 100 and 0 <= a.y <= height - 40
        assert all(a.y != b.y or abs(a.x - b.x) >= 100 for b in boxes[:i])


def test_a_trace_has_every_part_on_its_thread(step, tmp_path):
    profile = step._profile
    events = json.loads(profile.save(tmp_path / "trace.json").read_text())["traceEvents"]
    ran = [e for e in events if e.get("cat") == "kernel"]
    assert len(ran) == len(profile.timing.timeline.parts)
    assert {e["args"]["launch"] for e in ran} == set(range(len(profile.launches)))
    assert all(e["ph"] == "X" and e["dur"] >= 0 for e in ran)
    assert any(e["name"].startswith("conv1 conv2d 5x5 + bias + relu") for e in ran)


def test_json_for_other_tools(capsys):
    main(["show", "lenet5", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert data["cost"]["kernels"] > 5 and data["profile"] is None
    assert data["kernels"][1]["what"] == "conv2d 5x5 + bias + relu"
    assert any("in two kernels" in r["text"] for r in data["remarks"])


def test_view_from_the_shell(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "import tinygraph as tg\n"
        "def double():\n"
        "    x = tg.input('x', 3)\n"
        "    return tg.compile([x], [x * 2.0], name='double')\n"
        "three = 3\n"
    )
    main(["view", "net.py:double", "--profile"])
    assert "double.html" in capsys.readouterr().out and (tmp_path / "double.html").exists()
    for model, message in (
        ("net.py:three", "is of type int; it must be a "),
        ("net.py:four", "defines no four"),
        ("lenet6", "no network 'lenet6'"),
    ):
        with pytest.raises(SystemExit, match=message):
            main(["view", model])
