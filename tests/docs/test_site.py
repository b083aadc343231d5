"""The built documentation in a browser: narrow, dark, and without a request to anybody."""

from __future__ import annotations

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
    pages = [*sorted(SITE.glob("*.html")), *sorted((SITE / "reference").glob("*operators*.html"))]
    assert len(pages) > 15
    wide = {}
    for path in pages:
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
