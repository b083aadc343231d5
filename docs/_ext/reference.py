"""Sphinx extension that writes two kinds of pages before a build: the reference of modules, and the example Dags.

Both follow from the code, so a new module or a new example appears by itself. What it writes is not in git.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gallery

from vambe_provider.provider_info import get_provider_info

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
FURTHER = (
    "vambe_provider.notifications.vambe",
    "vambe_provider.operators.retry_policy",
    "vambe_provider.contact_policy",
    "vambe_provider.exceptions",
    "vambe_provider.api",
    "vambe_provider.sandbox",
    "vambe_provider.sandbox.config",
    "vambe_provider.sandbox.faults",
    "vambe_provider.sandbox.handle",
)
"""Public modules that the provider info does not list, or not on every Airflow."""
INSIDE = {
    *("template_fields", "template_fields_renderers", "template_ext", "operator_extra_links", "ui_color"),
    *(
        "execute",
        "execute_complete",
        "on_kill",
        "poke",
        "serialize",
        "run",
        "cleanup",
        "is_teardown",
        "prepare_template",
    ),
    *("model_config", "model_fields", "model_computed_fields", "model_post_init"),
}
"""What Airflow or pydantic calls, and a reader of the reference does not."""


def modules() -> list[str]:
    """Return the public modules, in the order of the provider info."""
    info = get_provider_info()
    names: list[str] = []
    for kind in ("operators", "transfers", "sensors", "triggers", "hooks"):
        for item in info.get(kind, []):
            names += item.get("python-modules") or [item["python-module"]]
    names += [item["class-name"].rpartition(".")[0] for item in info.get("task-decorators", [])]
    names += [name.rpartition(".")[0] for name in (*info.get("notifications", []), *info.get("extra-links", []))]
    return list(dict.fromkeys(name for name in (*names, *FURTHER) if _exists(name)))


def _exists(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def write_pages(app: Sphinx) -> None:
    """Write all pages anew."""
    reference = Path(app.srcdir) / "reference"
    examples = Path(app.srcdir) / "examples"
    for folder, pages in ((reference, _references()), (examples, gallery.pages())):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, text in pages.items():
            (folder / name).write_text(text)


def _references() -> dict[str, str]:
    pages = {}
    for module in modules():
        pages[f"{module}.md"] = (
            f"# {module.removeprefix('vambe_provider.')}\n\n```{{eval-rst}}\n.. automodule:: {module}\n```\n"
        )
    listed = "\n".join(modules())
    pages["index.md"] = (
        "# API reference\n\nMade from the docstrings. Everything that is named here stays, or changes with a line in "
        f"the [changelog](../changelog.md).\n\n```{{toctree}}\n:maxdepth: 2\n\n{listed}\n```\n"
    )
    return pages


def skip_inside(_app: Sphinx, _what: str, name: str, _obj: Any, skip: bool, _options: Any) -> bool | None:
    """Leave out what nobody calls by hand."""
    return True if skip or name in INSIDE or name.isupper() else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-skip-member", skip_inside)
    return {"version": "1", "parallel_read_safe": True}
