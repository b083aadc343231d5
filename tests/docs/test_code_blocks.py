"""Every code block of the documentation does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.airflow_db import AIRFLOW
from tests.docs.pages import ROOT, Page, blocks

RUN = {"python", "sh", "bash", "shell", "console", "sql"}
# Pages whose blocks do not run yet. A page that is left out of this set has its blocks run.
LATER = {"cli.md", "connection.md", "exactly-once.md", "operators.md", "performance.md", "scaling.md", "waiting.md"}
PAGES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if path.name not in LATER and RUN & set(blocks(path.read_text()))
]


# The tour starts Airflow's commands several times, which is the same on every Airflow and slow.
ON_THE_NEWEST_ONLY = {"first-ticket.md"}


@pytest.mark.dags
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_blocks_of_a_page_run_in_its_order(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if path.name in ON_THE_NEWEST_ONLY and AIRFLOW != (3, 3):
        pytest.skip("runs on the Airflow of development only")
    page = Page(path, tmp_path, lambda: str(request.getfixturevalue("postgres_url")))
    page.run()
    # None is passed over in silence.
    assert page.ran + page.skipped >= len([name for name in blocks(path.read_text()) if name in RUN])
    assert re.findall(r"<!-- skip: \w+ -->", path.read_text()) == []


def test_no_page_is_left_out_for_ever() -> None:
    assert {name for name in LATER if not (ROOT / "docs" / name).exists()} == set()


def test_a_block_that_fails_is_named_by_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```sh\nfalse\n```\n")
    broken = Page(page, tmp_path, lambda: "")
    with pytest.raises(AssertionError, match=r"page\.md:3: exit code 1"):
        broken.run()
