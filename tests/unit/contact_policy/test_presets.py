from __future__ import annotations

from datetime import date, timedelta

import pytest

from tests.unit.contact_policy.asked import ARGENTINA, BRAZIL, CHILE, COLOMBIA, MEXICO, PERU, ask, local, policy_of
from vambe_provider.contact_policy.presets import preset_for, preset_named, preset_names
from vambe_provider.contact_policy.zones import place_of

ECUADOR, URUGUAY, SPAIN = "+593991234567", "+59899123456", "+34612345678"
CALIFORNIA, RHODE_ISLAND, FORTALEZA, PORTO_ALEGRE = "+14155552671", "+14015552671", "+5585987654321", "+5551987654321"


def test_every_preset_says_where_it_comes_from_and_that_it_is_no_advice() -> None:
    assert len(preset_names()) == 13
    for name in preset_names():
        preset = preset_named(name)
        assert preset.advice == "none"
        assert preset.source
        assert preset.basis in ("law", "courtesy")
        assert preset.confidence in ("high", "medium", "low")
        assert preset.read >= date(2026, 11, 25)
        assert preset.label == f"{name}@{preset.read}"
        assert (preset.country is None) == (preset.basis == "courtesy")
        assert all(window.countries is None for window in preset.windows) == (preset.country is None)


@pytest.mark.parametrize(
    ("country", "purpose", "name"),
    [
        ("CL", "debt", "cl-debt"),
        ("CL", "marketing", "marketing"),
        ("CO", "marketing", "co-marketing"),
        ("MX", "service", "service"),
        ("MX", "marketing", "marketing"),
        ("AR", "debt", None),
        (None, "debt", None),
        (None, "service", "service"),
    ],
)
def test_a_country_without_a_rule_gets_courtesy_hours_but_none_for_debts(
    country: str | None, purpose: str, name: str | None
) -> None:
    preset = preset_for(country, purpose)
    assert (preset.name if preset else None) == name


# The first and the last minute of each window, and a minute outside; Monday is 2026-11-23, Saturday the 28th.
HOURS = [
    ("cl-debt", CHILE, "2026-11-23", "08:00", "20:00"),
    ("cl-debt", CHILE, "2026-11-28", "08:00", "20:00"),
    ("cl-debt", CHILE, "2026-11-29", None, None),
    ("cl-debt", CHILE, "2026-12-08", None, None),  # a holiday
    ("cl-debt-strict", CHILE, "2026-11-28", "10:00", "13:00"),
    ("co-debt", COLOMBIA, "2026-11-23", "07:00", "19:00"),
    ("co-debt", COLOMBIA, "2026-11-28", "08:00", "15:00"),
    ("co-debt", COLOMBIA, "2026-11-29", None, None),
    ("co-debt", COLOMBIA, "2026-07-13", None, None),
    ("co-marketing", COLOMBIA, "2026-11-28", "08:00", "15:00"),
    ("mx-debt", MEXICO, "2026-11-23", "07:00", "22:00"),
    ("mx-debt", MEXICO, "2026-11-28", None, None),
    ("pe-debt", PERU, "2026-11-23", "07:00", "20:00"),
    ("pe-debt", PERU, "2026-11-28", None, None),
    ("br-debt", BRAZIL, "2026-11-23", "08:00", "20:00"),
    ("br-debt", BRAZIL, "2026-11-28", "08:00", "14:00"),
    ("br-debt", FORTALEZA, "2026-11-23", "08:00", "18:00"),
    ("br-debt", FORTALEZA, "2026-11-28", None, None),
    ("br-debt", PORTO_ALEGRE, "2026-11-23", "09:00", "18:00"),
    ("ec-debt", ECUADOR, "2026-11-23", "07:00", "20:00"),
    ("ec-debt", ECUADOR, "2026-11-28", None, None),
    ("uy-marketing", URUGUAY, "2026-11-23", "09:00", "21:00"),
    ("uy-marketing", URUGUAY, "2026-11-28", "09:00", "17:00"),
    ("us-marketing", CALIFORNIA, "2026-11-28", "09:00", "20:00"),
    ("us-marketing", CALIFORNIA, "2026-11-29", "12:00", "20:00"),
    ("us-marketing", RHODE_ISLAND, "2026-11-23", "09:00", "18:00"),
    ("us-marketing", RHODE_ISLAND, "2026-11-29", "10:00", "17:00"),
    ("marketing", ARGENTINA, "2026-11-28", "09:00", "20:00"),
    ("marketing", ARGENTINA, "2026-11-29", None, None),
    ("service", ARGENTINA, "2026-11-29", "08:00", "21:00"),
    ("service", ARGENTINA, "2026-12-25", "08:00", "21:00"),
]


@pytest.mark.parametrize(("name", "number", "day", "start", "end"), HOURS)
def test_the_hours_of_a_preset(name: str, number: str, day: str, start: str | None, end: str | None) -> None:
    policy = policy_of(name)
    zone = "America/Santiago" if number == CHILE else place_of(number).zones[0]
    open_minutes = [
        minute
        for minute in range(0, 1440, 15)
        if ask(policy, local(day, zone) + timedelta(minutes=minute), number=number, zone=zone).decision == "send"
    ]
    if start is None or end is None:
        assert not open_minutes
        return
    first, last = (int(text[:2]) * 60 + int(text[3:]) for text in (start, end))
    assert open_minutes == list(range(first, last, 15))


def test_spain_is_open_where_madrid_and_the_canaries_are() -> None:
    policy = policy_of("es-marketing")
    hours = [
        hour
        for hour in range(24)
        if ask(policy, local(f"2026-11-23T{hour:02}:00", "Europe/Madrid"), number=SPAIN).decision == "send"
    ]
    assert hours == list(range(10, 21))


@pytest.mark.parametrize(
    ("name", "number"), [("cl-debt", MEXICO), ("co-debt", CHILE), ("us-marketing", "+18095550123")]
)
def test_the_preset_of_a_country_sends_nothing_elsewhere(name: str, number: str) -> None:
    decision = ask(policy_of(name), local("2026-11-25T12:00", "America/Bogota"), number=number)
    assert (decision.decision, decision.reason) == ("reject", "no_window")


def test_by_country_and_purpose_each_person_has_the_hours_of_the_own_country() -> None:
    policy = policy_of({"windows": "preset", "purpose": "debt"})
    evening = local("2026-11-25T19:30", "America/Bogota")  # 21:30 in Chile and São Paulo, 18:30 in Mexico
    found = {
        number: ask(policy, evening, number=number) for number in (CHILE, MEXICO, COLOMBIA, BRAZIL, PERU, ARGENTINA)
    }
    assert {number: decision.decision for number, decision in found.items()} == {
        CHILE: "postpone",
        MEXICO: "send",
        COLOMBIA: "postpone",
        BRAZIL: "postpone",
        PERU: "send",
        ARGENTINA: "reject",
    }
    assert found[ARGENTINA].reason == "no_preset"
    assert found[MEXICO].preset == "mx-debt@2026-11-25"


def test_the_presets_caps_come_with_its_windows_unless_the_policy_has_its_own() -> None:
    from vambe_provider.contact_policy import needs

    by_country = policy_of({"windows": "preset", "purpose": "debt"})
    assert {(cap.n, cap.period) for cap in needs(by_country).counts} == {(2, timedelta(days=7)), (1, "day")}
    assert needs(policy_of({"windows": "preset", "purpose": "debt", "caps": []})).counts == ()
    assert needs(policy_of({"preset": "cl-debt", "caps": []})).counts == ()
    assert len(needs(policy_of("cl-debt")).counts) == 1
    assert needs(policy_of({"windows": "preset"})).counts == ()
