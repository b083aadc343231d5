from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vambe_provider.contact_policy import person_of, read_policy
from vambe_provider.contact_policy.zones import _table, place_of, zone_named, zones_named


@pytest.mark.parametrize(
    ("number", "country", "zones"),
    [
        ("+56961234567", "CL", ("America/Santiago", "America/Punta_Arenas")),
        ("+5581987654321", "BR", ("America/Sao_Paulo",)),  # Recife is not Noronha
        ("+5591987654321", "BR", ("America/Sao_Paulo",)),  # Pará is not Manaus
        ("+5594987654321", "BR", ("America/Sao_Paulo",)),
        ("+5592987654321", "BR", ("America/Manaus",)),
        ("+5568987654321", "BR", ("America/Rio_Branco",)),
        ("+526141234567", "MX", ("America/Chihuahua",)),
        ("+526391234567", "MX", ("America/Chihuahua",)),
        ("+526561234567", "MX", ("America/Ciudad_Juarez",)),
        ("+528681234567", "MX", ("America/Matamoros",)),
        ("+526641234567", "MX", ("America/Tijuana",)),
        ("+529981234567", "MX", ("America/Cancun",)),
        ("+525541637145", "MX", ("America/Mexico_City",)),
        ("+5491158749895", "AR", ("America/Argentina/Buenos_Aires",)),
        ("+573001234567", "CO", ("America/Bogota",)),
        ("+34612345678", "ES", ("Europe/Madrid", "Atlantic/Canary")),
        ("+18095550123", "DO", ("America/Santo_Domingo",)),
        ("+14155552671", "US", ("America/Los_Angeles",)),
        ("+4915112345678", "DE", ("Europe/Berlin",)),
        ("+881612345678", None, ()),
    ],
)
def test_a_number_belongs_to_its_country_and_zones(number: str, country: str | None, zones: tuple[str, ...]) -> None:
    place = place_of(number)
    assert (place.country, place.zones) == (country, zones)


def test_the_state_follows_from_the_area_code_where_rules_need_it() -> None:
    assert [place_of(f"+55{area}987654321").area for area in ("11", "21", "85", "53")] == [
        "BR-SP",
        "BR-RJ",
        "BR-CE",
        "BR-RS",
    ]
    assert (place_of("+14015552671").area, place_of("+14155552671").area) == ("US-RI", None)


def test_every_zone_of_the_table_exists_and_is_the_one_that_its_name_says() -> None:
    winter = datetime(2026, 7, 1, 12, tzinfo=UTC)
    offsets = {}
    for place in _table()[0].values():
        for name in place.zones:
            zone = zone_named(name)
            assert zone is not None, name
            offset = winter.astimezone(zone).utcoffset()
            assert offset is not None
            offsets[name] = offset.total_seconds() / 3600
    assert offsets["America/Chihuahua"] == offsets["America/Mexico_City"] == -6
    assert (offsets["America/Santiago"], offsets["America/Punta_Arenas"]) == (-4, -3)
    assert (offsets["America/Matamoros"], offsets["America/Ciudad_Juarez"], offsets["America/Cancun"]) == (-5, -6, -5)


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_a_column_without_a_zone_falls_back_to_the_number(value: object) -> None:
    assert zones_named(value) is None
    assert person_of("+56961234567", timezone=value).place.zones == ("America/Santiago", "America/Punta_Arenas")


@pytest.mark.parametrize(
    "value",
    ["America/Nowhere", "CLT", "-03:00", "America", "America/", "../../etc/passwd", "/etc/passwd", "a/" + "x" * 500, 5],
)
def test_a_column_with_something_else_has_no_zone(value: object) -> None:
    assert zones_named(value) == ()


def test_a_column_wins_over_the_policy_and_the_policy_over_the_number() -> None:
    policy = read_policy({"timezone": "Pacific/Easter"})
    assert person_of("+56961234567", policy=policy).place.zones == ("Pacific/Easter",)
    assert person_of("+56961234567", policy=policy, timezone="America/Lima").place.zones == ("America/Lima",)
    assert person_of("+56961234567", policy=policy, timezone="America/Lima").place.country == "CL"
