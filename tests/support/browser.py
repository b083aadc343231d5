"""The installed Chromium, and what tests look for in a page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
REQUIRE = "VAMBE_TEST_REQUIRE_BROWSER"
# An installed one: nothing is downloaded for a test.
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Nothing that Chromium does on its own behalf.
_QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-default-apps"),
]

TOO_FAINT = """() => {
  const channels = (color) => color.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => ((c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const faint = new Set();
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const typed = ["INPUT", "SELECT", "TEXTAREA"].includes(element.tagName);
    const unseen = ["STYLE", "SCRIPT", "OPTION", "OPTGROUP"].includes(element.tagName) || !element.checkVisibility();
    if (unseen || element.closest("svg") || !(own || typed)) continue;
    for (const part of element.placeholder ? [null, "::placeholder"] : [null]) {
      const [a, b] = [light(channels(getComputedStyle(element, part).color)), light(behind(element))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < 4.5) faint.add(`${element.outerHTML.slice(0, 80)}${part ?? ""} has ${contrast.toFixed(2)}`);
    }
  }
  return [...faint];
}"""
"""The texts whose contrast with what is painted behind them is below 4.5, as WCAG 2 computes it."""


def require_browser() -> None:
    """Skip a module where there is no browser; fail where one is demanded."""
    missing = [name for name, found in (("Chromium", CHROMIUM), ("playwright", find_spec("playwright"))) if not found]
    if missing and os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{missing[0]} is not installed; {REQUIRE}=1 demands it", pytrace=False)
    if missing:
        pytest.skip(f"needs {missing[0]}", allow_module_level=True)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser without any memory."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
        try:
            yield browser
        finally:
            browser.close()


def picture(name: str) -> Path | None:
    """Return where a picture of the documentation belongs, when the run is to make them."""
    return PICTURES / name if os.environ.get("VAMBE_WRITE_PICTURES") == "1" else None
