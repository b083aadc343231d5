from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vambe_provider.contact_policy.phone import canonical_number, mask_number, number_aliases
from vambe_provider.exceptions import PhoneNumberError, VambeConfigError

CHILE = "+56961234567"
MEXICO = "+525541637145"
ARGENTINA = "+5491158749895"
BRAZIL = "+5511987654321"


@pytest.mark.parametrize(
    ("value", "region", "canonical"),
    [
        ("+56 9 6123 4567", None, CHILE),
        ("\u202a+56 9 6123\u00a04567\u202c", None, CHILE),
        ("0056 9 6123 4567", None, CHILE),
        ("56961234567", None, CHILE),
        (56961234567, None, CHILE),
        (Decimal(56961234567), None, CHILE),
        ("961234567", "CL", CHILE),
        (961234567, " cl ", CHILE),
        ("56961234567", "CL", CHILE),
        ("+56961234567", "BR", CHILE),
        ("+52 1 55 4163 7145", None, MEXICO),
        ("5215541637145", None, MEXICO),
        ("5215541637145", "MX", MEXICO),
        ("044 55 4163 7145", "MX", MEXICO),
        ("045 55 4163 7145", "MX", MEXICO),
        ("01 55 4163 7145", "MX", MEXICO),
        ("55 4163 7145", "MX", MEXICO),
        ("525541637145", "CL", MEXICO),
        ("+54 11 5874 9895", None, ARGENTINA),
        ("+54 9 11 5874 9895", None, ARGENTINA),
        ("+54 11 15 5874 9895", None, ARGENTINA),
        ("+54 9 11 15 5874 9895", None, ARGENTINA),
        ("011 15 5874 9895", "AR", ARGENTINA),
        ("11 5874 9895", "AR", ARGENTINA),
        ("5491158749895", "CL", ARGENTINA),
        ("+54 2901 15 401234", None, "+5492901401234"),
        ("02901 15 401234", "AR", "+5492901401234"),
        ("+55 11 8765 4321", None, BRAZIL),
        ("+55 (11) 98765-4321", None, BRAZIL),
        ("011 98765-4321", "BR", BRAZIL),
        ("11 8765 4321", "BR", BRAZIL),
        ("551187654321", None, BRAZIL),
        # In Brazil a mobile of Porto Alegre, elsewhere one of Peru.
        ("51987654321", "BR", "+5551987654321"),
        ("51987654321", "CL", "+51987654321"),
        ("300 123 4567", "CO", "+573001234567"),
        ("+1 415 555 2671", None, "+14155552671"),
    ],
)
def test_one_person_has_one_number(value: object, region: str | None, canonical: str) -> None:
    assert canonical_number(value, default_region=region) == canonical


@pytest.mark.parametrize(
    ("value", "region", "reason"),
    [
        ("61234567", "CL", "9 digits and starts with 9"),
        ("09 6123 4567", "CL", "9 digits and starts with 9"),
        ("+56 2 2123 4567", None, "9 digits and starts with 9"),
        ("+56 9 6123 456", None, "9 digits and starts with 9"),
        ("961234567", None, "set default_region"),
        ("0961234567", None, "set default_region"),
        ("096123456789", None, "set default_region"),
        ("961234567.0", "CL", "pandas"),
        ("9.6E8", "CL", "pandas"),
        (961234567.0, "CL", "float"),
        (True, "CL", "boolean"),
        (None, "CL", "missing"),
        ("s/n", "CL", "characters"),
        ("", None, "empty"),
        ("1", "CO", "no number of CO"),
        ("15 5874 9895", "AR", "not a valid number in AR"),
        ("+57 601 234 5678", None, "landline"),
        ("+55 11 3234 5678", None, "landline"),
        ("+52 55", None, "not a valid number in MX"),
        ("+999 1234 5678", None, "no country code"),
        ("55 4163 7145", "CL", "9 digits and starts with 9"),
        ("99999999999", None, "no country code"),
    ],
)
def test_a_number_that_nobody_can_have_is_refused_without_showing_it(
    value: object, region: str | None, reason: str
) -> None:
    with pytest.raises(PhoneNumberError) as caught:
        canonical_number(value, default_region=region)
    text = str(caught.value)
    assert reason in text
    assert caught.value.problems[0].startswith("to_phone_number: ")
    digits = "".join(char for char in str(value) if char.isdigit())
    assert len(digits) <= 4 or digits[-4:] not in "".join(text.split())


@pytest.mark.parametrize("region", ["XX", "Chile", ""])
def test_a_region_has_to_exist(region: str) -> None:
    with pytest.raises(VambeConfigError, match="default_region"):
        canonical_number("961234567", default_region=region)


numbers = st.one_of(
    st.from_regex(r"(\+|00)?(52|521|54|549|55|56|57|51|1|34)?[0-9]{7,12}", fullmatch=True),
    st.integers(0, 10**16),
)
regions = st.sampled_from([None, "CL", "MX", "AR", "BR", "CO", "PE", "US"])


@given(numbers, regions, regions)
def test_the_canonical_form_is_its_own_canonical_form_everywhere(
    value: object, region: str | None, other: str | None
) -> None:
    try:
        canonical = canonical_number(value, default_region=region)
    except PhoneNumberError:
        return
    assert canonical_number(canonical, default_region=other) == canonical
    if len(canonical) > 11:
        assert canonical_number(canonical[1:]) == canonical, "a long one is the same without the plus sign"


@given(numbers)
def test_each_alias_is_the_same_person(value: object) -> None:
    try:
        canonical = canonical_number(value)
    except PhoneNumberError:
        return
    aliases = number_aliases(canonical)
    assert canonical[1:] in aliases
    for alias in aliases:
        assert canonical_number(f"+{alias}") == canonical
        assert number_aliases(alias) == aliases


@pytest.mark.parametrize(
    ("number", "aliases"),
    [
        (MEXICO, {"525541637145", "5215541637145"}),
        (ARGENTINA, {"5491158749895", "541158749895"}),
        (BRAZIL, {"5511987654321", "551187654321"}),
        ("+551132345678", {"551132345678"}),
        (CHILE, {"56961234567"}),
    ],
)
def test_aliases(number: str, aliases: set[str]) -> None:
    assert number_aliases(number) == aliases


@pytest.mark.parametrize(
    ("number", "masked"),
    [(CHILE, "***567"), ("+56 9 6123-4567", "***567"), ("123456", "***"), ("", "***"), ("abc", "***")],
)
def test_masked(number: str, masked: str) -> None:
    assert mask_number(number) == masked
