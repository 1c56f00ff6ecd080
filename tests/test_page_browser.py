"""The page in a real browser: from disk, without a network, by pointer and by keyboard."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from browser import Browser, chromium
from tinygraph import nn
from whole_networks import WHOLE

if chromium() is None:
    pytest.skip("there is no Chromium here: the page was not opened", allow_module_level=True)

PANES = ("kernels", "code", "yours", "memory", "timeline", "roofline", "why", "changes")


@pytest.fixture(scope="module")
def browser():
    opened = Browser()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def step(tmp_path_factory):
    """LeNet-5's training step, profiled."""
    inputs, outputs, updates = WHOLE["lenet5_step"]()
    program = tg.compile(inputs, outputs, updates=updates, name="step")
    arrays = list(map(zeros, inputs))
    program.profile(*arrays, repeat=1)
    return program, program.view(tmp_path_factory.mktemp("page") / "step.html")


def zeros(n):
    return np.zeros(n.shape, n.dtype)


@pytest.fixture
def page(browser, step):
    """The page, open; afterwards nothing may have gone wrong."""
    browser.errors.clear()
    browser.open(step[1])
    yield browser
    assert browser.errors == []


def test_every_pane_shows_something_and_what_is_selected_in_it(page):
    marks = {
        "kernels": "tr.chosen", "code": ".block.chosen .line", "yours": ".line.chosen",
        "memory": ".buffer.chosen", "timeline": ".ran.chosen", "roofline": ".dot.chosen",
        "why": ".remark", "changes": ".line",
    }  # fmt: skip
    page.run("app.select({kernels: [app.model.run.find((k) => app.model.kernels[k].flops > 0)]})")
    for number, pane in enumerate(PANES):
        page.click("#tabs button", number)
        assert page.run("app.tab") == pane
        found = page.run(f"document.querySelectorAll('#panes {marks[pane]}').length")
        assert found > 0, pane
    assert page.run("document.querySelectorAll('.box').length") > 5


def test_the_slider_reaches_every_stage(page, step):
    names = page.run("app.names()")
    assert names == [*step[0].stages[:-3], "fused"]
    for number, name in enumerate(names):
        page.run(f"$('slider').value = {number}; $('slider').dispatchEvent(new Event('input'))")
        assert page.run("app.names()[app.stage]") == name
        assert page.run("document.querySelectorAll('#now .box').length") > 0, name
    page.run("app.go(app.names().indexOf('simplify'))")
    page.click("#beside")
    assert page.run("document.querySelectorAll('#before .box').length") > 0
    page.click("#only")
    assert page.run("app.graph.things.some((t) => t.mark)")


def test_a_click_on_a_node_lights_up_its_kernel_its_source_and_its_memory(page):
    page.run("app.go(0); app.graph.unfold(); app.graph.arrange(); app.graph.fit(true)")
    page.run("app.select({})")
    spot = page.run(
        "app.graph.drawn.boxes.findIndex((b) => b.things[0].title === 'conv2d' "
        "&& b.things[0].part === 'forward')"
    )
    page.click("#now .box", spot)
    assert page.run("app.picked.items.length") == 1
    assert page.run("[...app.related.kernels].map((k) => app.model.kernels[k].what)")[0].startswith(
        ("conv2d", "pad")
    )
    for pane in ("kernels", "code", "yours", "memory"):
        page.run(f"app.open('{pane}')")
        assert page.run("document.querySelectorAll('#panes .chosen').length") > 0, pane


def test_the_inner_loop_of_a_product_unfolds(page):
    page.run("app.open('code'); app.select({kernels: [app.model.run.find((i) => "
             "app.model.kernels[i].code.some((c) => app.model.code[c].loop))]})")  # fmt: skip
    shown = "document.querySelector('.block.chosen .machine').getBoundingClientRect().height"
    folded = page.run(shown)
    page.click(".block.chosen .machine summary")
    assert page.run(shown) > 100 + folded
    assert page.run("document.querySelector('#now .around').getAttribute('d')")


def test_search_finds_layers_shapes_and_lines(page):
    for words in ("conv1", "[120", "relu conv2", "whole_networks.py"):
        page.press("/")
        page.run("$('search').value = ''")
        page.type(words)
        assert page.run("app.hits.kernels.size") > 0, words
        page.send("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter",
                  windowsVirtualKeyCode=13)  # fmt: skip
        assert page.run("app.picked.kernels.length") == 1
        page.press("Escape")
    assert page.run("app.hits") is None


def test_all_of_it_by_keyboard(page):
    page.press("4")
    assert page.run("app.tab") == "memory"
    page.press("[")
    assert page.run("app.stage") == page.run("app.model.stages.length") - 1
    page.press("]")
    page.run("app.graph.canvas.focus(); app.select({})")
    page.press("ArrowDown")
    first = page.run("[...app.graph.chosen]")
    page.press("ArrowDown")
    assert first and page.run("[...app.graph.chosen]") != first
    before = page.run("app.graph.drawn.boxes.length")
    page.run("app.select({kernels: app.graph.drawn.boxes.find((b) => b.children).things.map((t)"
             " => t.id)}); app.graph.canvas.focus()")  # fmt: skip
    page.press("Enter")
    assert page.run("app.graph.drawn.boxes.length") > before
    page.press("Backspace")
    assert page.run("app.graph.drawn.boxes.length") == before
    page.press("1")
    page.run("document.activeElement.blur(); app.select({kernels: [app.panes.kernels.order[0]]})")
    page.press("ArrowDown")
    assert page.run("app.picked.kernels[0] === app.panes.kernels.order[1]")


HOSTILE = ("</script><script>window.hurt=1</script>", "<img src=x onerror=window.hurt=1>",
           "\"quotes' & <b>", "emoji 🧠🔥", "עברית ואנגלית", "a\u202eb\u2066c", "\ud800",
           "{data} {script}")  # fmt: skip


def test_names_stay_text(browser, tmp_path):
    x = tg.input("x", 4, 8)
    y = x
    for number, name in enumerate(HOSTILE):
        with tg.scope(name.replace(".", "")):
            y = tg.relu(nn.Linear(8, 8)(y)) * float(number + 2)
            y.named(name)
    program = tg.compile([x], [y], name=HOSTILE[0])
    path = program.view(tmp_path / "hostile.html")
    browser.errors.clear()
    browser.open(path)
    for number in range(len(PANES)):
        browser.click("#tabs button", number if number < 5 else 0)
    for stage in (0, 99):
        browser.run(f"app.go({stage}); app.graph.unfold(); app.graph.arrange(); app.graph.fit()")
    assert browser.run("window.hurt") is None
    assert browser.run("document.querySelector('#title').textContent") == HOSTILE[0]
    assert browser.run("document.querySelectorAll('script').length") == 2
    assert browser.run("[...document.querySelectorAll('img, b[onerror]')].length") == 0
    shown = browser.run("document.querySelector('#panes').textContent")
    assert "🧠🔥" in shown and "עברית" in shown
    assert browser.errors == []


def test_two_programs_side_by_side(browser, tmp_path):
    programs = []
    for size in (4, 9):
        x = tg.input("x", 8, size)
        weights = np.ones((size, 16), np.float32)
        programs.append(tg.compile([x], [tg.relu(x @ weights) * 2.0], name=f"size {size}"))
    path = tg.view(*programs, tmp_path / "two.html")
    browser.errors.clear()
    browser.open(path)
    assert browser.run("app.tab") == "compare"
    for graph in ("before", "now"):
        assert browser.run(f"document.querySelectorAll('#{graph} .box').length") > 0
    text = browser.run("document.querySelector('#panes').textContent")
    assert "size 4" in text and "size 9" in text and "matmul" in text
    browser.click("#programs button", 1)
    assert browser.run("app.model.name") == "size 9"
    browser.click(".compare tbody tr")
    assert browser.run("document.querySelector('#before .around').getAttribute('d')")
    assert browser.errors == []


def compared(browser, path) -> list[list[str]]:
    """The table of kernels: sign, layer, what, first, second, their ratio, how, output."""
    browser.errors.clear()
    browser.open(path)
    rows = browser.run("[...document.querySelectorAll('.compare tbody tr')].map("
                       "(row) => [...row.children].map((cell) => cell.textContent))")  # fmt: skip
    assert browser.errors == []
    return rows


def two_layers(batch, dtype="float32", backend="cpu"):
    x = tg.input("x", batch, 12, dtype=dtype)
    with tg.scope("first"):
        y = tg.relu(x @ np.ones((12, 20), dtype))
    with tg.scope("second"):
        y = tg.softmax(y * 2, axis=1)
    return tg.compile([x], [y], name="two", backend=backend)


OTHERS = [{"batch": 64}, {"dtype": "float64"}, {"backend": "cuda:emulate"}]


@pytest.mark.parametrize("other", OTHERS)
def test_kernels_of_two_programs_are_paired_by_what_they_compute(browser, tmp_path, other):
    programs = two_layers(1), two_layers(**{"batch": 1} | other)
    rows = compared(browser, tg.view(*programs, tmp_path / "two.html"))
    assert {row[1] for row in rows} == {"first", "second"}
    assert not {"+", "−"} & {row[0] for row in rows}
    for sign, _, what, _, _, times, how, output in rows:
        assert (sign == "~") == ("→" in what + how)
        assert ("→" in output) == ("backend" not in other)
        assert times == "64 ×" or "batch" not in other
        assert output == "f32[1,20] → f64[1,20]" or "dtype" not in other
