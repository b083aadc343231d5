"""The built documentation in a browser: narrow, dark, and without a request to anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT
from tests.support.browser import CHROMIUM, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

SITE = ROOT / "site"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="needs `make docs`"),
]
pytest.importorskip("playwright")

_OVERFLOWING = """picture => {
  const width = picture.querySelector("rect").getBBox().width - 8;
  const texts = [...picture.querySelectorAll("text")];
  return texts.filter((text) => text.getBBox().width > width).map((text) => text.textContent);
}"""


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """Return every address that the pages have asked for."""
    return []


@pytest.fixture(scope="module")
def browser_page(asked: list[str]) -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme="dark")
        page.on("request", lambda request: asked.append(request.url))
        yield page


def test_every_page_fits_a_phone_and_asks_nobody(browser_page: Page, asked: list[str]) -> None:
    further = (("reference", "*operators*.html"), ("examples", "*.html"))
    pages = [*SITE.glob("*.html"), *(path for folder, names in further for path in (SITE / folder).glob(names))]
    assert len(pages) > 15
    wide = {}
    for path in sorted(pages):
        browser_page.goto(path.as_uri(), wait_until="domcontentloaded")
        width = browser_page.evaluate("document.documentElement.scrollWidth")
        if width > 400:
            wide[str(path.relative_to(SITE))] = width
    assert wide == {}
    assert [url for url in asked if url.startswith("http")] == []


def test_a_reader_in_the_dark_gets_a_dark_page(browser_page: Page) -> None:
    browser_page.goto((SITE / "index.html").as_uri())
    background = browser_page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in background[4:-1].split(",")) < 60


def test_every_example_is_on_its_page_with_a_picture_that_can_be_read(browser_page: Page) -> None:
    examples = {path.stem for path in (ROOT / "example_dags").glob("*.py")}
    browser_page.goto((SITE / "examples.html").as_uri())
    cards = browser_page.locator(".sd-card:has(svg.dag)")
    links = [link.get_attribute("href") or "" for link in cards.locator("a.sd-stretched-link").all()]
    assert sorted(links) == sorted(f"examples/{name}.html" for name in examples)
    for name in examples:
        browser_page.goto((SITE / "examples" / f"{name}.html").as_uri())
        picture = browser_page.locator("svg.dag")
        source = (ROOT / "example_dags" / f"{name}.py").read_text()
        tasks = re.findall(r'task_id="(\w+)"', source)
        tasks += re.findall(r"^    @task\b(?:.|\n)*?^    def (\w+)", source, re.MULTILINE)
        assert tasks
        shown = picture.locator("text.name").all_text_contents()
        assert sorted(shown[1:]) == sorted(tasks)
        # Each task hangs on what starts the Dag, or on another one.
        assert picture.locator("path.edge").count() >= len(tasks)
        assert picture.evaluate(_OVERFLOWING) == []
