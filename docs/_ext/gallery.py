"""The pages of the example Dags: what starts each, its tasks as a picture, and its text. Called by ``reference.py``."""

from __future__ import annotations

import ast
import os
from html import escape
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 220, 46, 24, 34


def dags() -> dict[str, Any]:
    """Return the example Dags by the name of their file, as Airflow parses them."""
    from airflow.dag_processing.dagbag import DagBag

    bag: Any = DagBag(os.devnull, collect_dags=False)
    return {path.stem: dag for path in sorted(EXAMPLES.glob("*.py")) for dag in bag.process_file(str(path))}


def pages() -> dict[str, str]:
    """Return the page of each example, and ``cards.txt`` for the page that lists them, by their names."""
    found, cards = {}, []
    for name, dag in dags().items():
        title = dag.dag_display_name.removeprefix("Vambe: ")
        title = title[0].upper() + title[1:]
        source = (EXAMPLES / f"{name}.py").read_text()
        picture = f"```{{raw}} html\n{svg(dag)}\n```"
        found[f"{name}.md"] = (
            f"# {title}\n\n{picture}\n\n```{{eval-rst}}\n{ast.get_docstring(ast.parse(source))}\n```\n\n"
            f"```{{literalinclude}} ../../example_dags/{name}.py\n:language: python\n:start-at: from __future__\n```\n"
        )
        cards.append(
            f":::{{grid-item-card}} {title}\n:link: examples/{name}\n:link-type: doc\n\n"
            f"{dag.description}.\n\n{picture}\n:::"
        )
    found["cards.txt"] = "::::{grid} 1 1 2 2\n:gutter: 3\n\n" + "\n\n".join(cards) + "\n::::\n"
    return found


def svg(dag: Any) -> str:
    """Return the picture of a Dag: what starts it, and below it the tasks, each under those that it waits for."""
    rows = _rows(dag)
    width = max(map(len, rows)) * (_WIDTH + _ACROSS) + _ACROSS
    places = {}
    for depth, row in enumerate(rows, start=1):
        left = (width - len(row) * (_WIDTH + _ACROSS) + _ACROSS) / 2
        for number, task in enumerate(row):
            places[task.task_id] = (left + number * (_WIDTH + _ACROSS), depth * (_HEIGHT + _DOWN))
    start = ((width - _WIDTH) / 2, 4)
    edges = [_edge(start, places[task.task_id]) for task in dag.roots]
    edges += [
        _edge(places[task.task_id], places[below])
        for row in rows
        for task in row
        for below in sorted(task.downstream_task_ids)
    ]
    boxes = [_box(start, starts(dag), "starts it", round_by=23)]
    boxes += [_task(places[task.task_id], task) for row in rows for task in row]
    height = (len(rows) + 1) * (_HEIGHT + _DOWN)
    label = f"{dag.dag_id}: {starts(dag)} starts it; tasks {', '.join(places)}"
    return (
        f'<svg class="dag" role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" width="{width}">'
        f"{''.join(edges)}{''.join(boxes)}</svg>"
    )


def starts(dag: Any) -> str:
    """Return what starts a Dag, in a few words."""
    if dag.schedule is None:
        return "by hand or REST"
    if isinstance(dag.schedule, str):
        return f"{dag.schedule}, UTC"
    return ", ".join(asset.name for asset in dag.schedule)


def _rows(dag: Any) -> list[list[Any]]:
    depth: dict[str, int] = {}
    for task in dag.topological_sort():
        depth[task.task_id] = max((depth[above] + 1 for above in task.upstream_task_ids), default=0)
    return [[dag.get_task(name) for name in depth if depth[name] == row] for row in range(max(depth.values()) + 1)]


def _task(at: tuple[float, float], task: Any) -> str:
    kind = task.task_type
    kind = f"@{task.custom_operator_name.removeprefix('@')}" if kind.startswith("_") else kind
    behind = _rect((at[0] + 5, at[1] + 5), round_by=8) if task.is_mapped else ""
    return behind + _box(at, task.task_id, f"{kind}, mapped" if task.is_mapped else kind, round_by=8)


def _box(at: tuple[float, float], name: str, about: str, *, round_by: int) -> str:
    middle = at[0] + _WIDTH / 2
    return (
        f'{_rect(at, round_by=round_by)}<text x="{middle:g}" y="{at[1] + 20:g}" class="name">{escape(name)}</text>'
        f'<text x="{middle:g}" y="{at[1] + 36:g}">{escape(about)}</text>'
    )


def _rect(at: tuple[float, float], *, round_by: int) -> str:
    return f'<rect x="{at[0]:g}" y="{at[1]:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="{round_by}"/>'


def _edge(above: tuple[float, float], below: tuple[float, float]) -> str:
    x, y, to_x, to_y = above[0] + _WIDTH / 2, above[1] + _HEIGHT, below[0] + _WIDTH / 2, below[1]
    bend = (to_y - y) / 2
    # One that passes a row goes around what stands there.
    aside = 0.78 * _WIDTH if to_y - y > _DOWN else 0
    return (
        f'<path class="edge" d="M{x:g} {y:g} C{x + aside:g} {y + bend:g} {to_x + aside:g} {to_y - bend:g} '
        f'{to_x:g} {to_y - 6:g}"/>'
        f'<path class="head" d="M{to_x - 4:g} {to_y - 7:g} h8 l-4 7 z"/>'
    )
