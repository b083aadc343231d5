"""How Sphinx builds the documentation; run by ``make docs``."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS / "_ext")]
# The reference imports the provider, and the provider imports Airflow: without a database, without examples.
os.environ.setdefault("AIRFLOW_HOME", str(ROOT / "build" / "docs-airflow"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")

import vambe_provider  # noqa: E402

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project = _PROJECT["name"]
author = _PROJECT["authors"][0]["name"]
project_copyright = author
release = version = vambe_provider.__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "reference",
]
exclude_patterns = ["_ext", "_static", "_templates"]
nitpicky = False

# --- Pages ----------------------------------------------------------------------------------------------------------
# `alert`: GitHub shows the same notes. `html_image`: pictures with their own alternative text and width.
myst_enable_extensions = ["alert", "colon_fence", "deflist", "fieldlist", "html_image"]
myst_heading_anchors = 4

# --- Reference ------------------------------------------------------------------------------------------------------
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
# The types of the arguments are those of __init__, whose docstring is the one of the class.
autoclass_content = "both"
python_use_unqualified_type_names = True
maximum_signature_line_length = 90

# --- Look -----------------------------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_sidebars = {"**": ["pages.html"]}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": project},
    "icon_links": [{"name": "Source", "url": _PROJECT["urls"]["Source"], "icon": "fa-brands fa-github"}],
    "navigation_with_keys": False,
    "navbar_center": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
# A page of another host is asked only where a reader clicks; `make links` looks whether it is still there.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_ignore = [r"http://127\.0\.0\.1.*", r"http://localhost.*", r"https://api\.vambe\.me.*"]
