"""The documentation as a site: sphinx-build -W docs build/site, with the extra ``docs``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import reference_pages
from sphinx.application import Sphinx

import tinygraph

project = "tinygraph"
author = copyright = "tinygraph authors"
version = release = tinygraph.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["speed.svg"]
nitpicky = False

myst_enable_extensions = ["attrs_block"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say what is taken, shapes included
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
copybutton_prompt_text = ">>> |... |$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "tinygraph"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "tinygraph"},
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "navigation_depth": 3,
    "show_toc_level": 2,
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}
html_sidebars = {"index": [], "coming-from": [], "tutorial": [], "zh/tutorial": []}

# A document outside of this folder, of which emulator.md is made.
EMULATOR = re.compile(r"\]\((?:\.\./)+backends/ptx_emulator/README\.md\)")

reference_pages.write(Path(__file__).parent / "reference" / "api")


def setup(app: Sphinx) -> None:
    def escape(app: Sphinx, what: str, name: str, value: object, options: object,
               lines: list[str]) -> None:  # fmt: skip
        lines[:] = reference_pages.as_rst(lines)

    def point_inside(app: Sphinx, name: str, source: list[str]) -> None:
        source[0] = EMULATOR.sub("](/emulator.md)", source[0])

    app.connect("autodoc-process-docstring", escape, priority=100)  # before napoleon
    app.connect("source-read", point_inside)
