"""The page for people says what the data says."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from vambe_provider.cli import main
from vambe_provider.contact_policy import ContactPolicy, canonical_number
from vambe_provider.contact_policy.presets import preset_named, preset_names
from vambe_provider.contact_policy.reasons import REASONS
from vambe_provider.contact_policy.suppression import OPT_OUT_WORDS
from vambe_provider.exceptions import PhoneNumberError

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "contact-policy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", preset_names())
def test_the_page_shows_the_hours_of_each_preset(name: str) -> None:
    [row] = [line for line in PAGE.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]]
    for window in preset_named(name).windows:
        hours = [f"{minute // 60}" for minute in window.minutes]
        assert "\u2013".join(hours) in row, row
    assert preset_named(name).confidence in row


def test_the_page_lists_every_field_reason_and_word() -> None:
    names = [each.name for each in fields(ContactPolicy) if each.init] + list(REASONS)
    assert not [name for name in names if f"| `{name}` |" not in PAGE]
    text = " ".join(PAGE.split())
    assert not [word for word in OPT_OUT_WORDS if word not in text]


def test_the_command_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    example = re.search(r"\$ python -m vambe_provider (policy explain [^\n]+)\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    assert main(example[1].split()) == 0
    assert capsys.readouterr().out == example[2]


@pytest.mark.parametrize("text", ["11 5874-9895/96", "554163714²", "961234567 (1)", "66987654321"])
def test_what_the_page_calls_refused_is_refused(text: str) -> None:
    assert f"`{text}`" in PAGE
    for region in (None, "AR", "MX", "CL"):
        with pytest.raises(PhoneNumberError):
            canonical_number(text, default_region=region)
