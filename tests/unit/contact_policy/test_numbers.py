from __future__ import annotations

from decimal import Decimal

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.contact_policy.cases import Case, cases
from vambe_provider.contact_policy.numbers import Repair, canonical_number, mask_number, number_aliases
from vambe_provider.exceptions import PhoneNumberError, VambeConfigError

CHILE = "+56961234567"
MEXICO = "+525541637145"
ARGENTINA = "+5491158749895"
BRAZIL = "+5511987654321"
PERU = "+51987654321"
TABLE = list(cases())


def outcome(value: object, region: str | None = None, *, repair: Repair = "safe", allowed: str | None = None) -> str:
    """Return the number, or why there is none."""
    try:
        return canonical_number(value, default_region=region, repair=repair, allowed_countries=allowed)
    except PhoneNumberError as error:
        return f"reject:{error.reason}"


@pytest.mark.parametrize("case", TABLE, ids=[f"line {case.line}" for case in TABLE])
def test_the_table_of_numbers_holds_in_both_columns(case: Case) -> None:
    assert outcome(case.value, case.region) == case.safe
    assert outcome(case.value, case.region, repair="none") == case.none


def test_the_table_is_read_whole() -> None:
    assert len(TABLE) == 127


@pytest.mark.parametrize(
    ("value", "region"),
    [
        ("11 5874-9895/96", "AR"),
        ("554163714²", "MX"),
        ("554163714①", "MX"),
        ("554163714 2", "MX"),
        ("554163714(2)", "MX"),
        ("(55) 4163 714 (2)", "MX"),
        ("66987654321", None),
        ("84987654321", "CL"),
        ("9 370 412 3456", None),
        ("33 6123 4567 8", "MX"),
        ("33612345678", "MX"),
        ("55 1198 7654 / 321", "MX"),
        ("55 1198 7654 - 321", "MX"),
        ("5511987654321", "MX"),
        ("316-123-4567-8", "CO"),
        ("31612345678", "CO"),
        ("1 316 223 4567", "CO"),
        ("9 1987 6543 / 210", "CL"),
        ("919876543210", "CL"),
        ("1 33 1234 5678", "MX"),
        ("0066987654321", "BR"),
        ("0093704123456", "AR"),
        ("00 1332 263 5527", "MX"),
        ("66987654321@c.us", "BR"),
        ("https://wa.me/66987654321", "BR"),
        ("11 7812-3456", "BR"),
        ("51987654321", None),
    ],
)
def test_what_could_be_a_stranger_is_refused(value: str, region: str | None) -> None:
    assert outcome(value, region).startswith("reject:")
    assert outcome(value, region, repair="none").startswith("reject:")


@pytest.mark.parametrize(
    ("value", "region", "reason"),
    [
        ("961234567\n987654321", "CL", "several_numbers"),
        ("961234567\t987654321", "CL", "several_numbers"),
        ("961234567 | 987654321", "CL", "several_numbers"),
        ("961234567\uff0f987654321", "CL", "several_numbers"),
        ("961234567 & 987654321", "CL", "several_numbers"),
        ("https://api.whatsapp.com/send?phone=56961234567&phone=56987654321", None, "several_numbers"),
        ("96.123.456-7", "CL", "not_a_phone"),  # a RUT: its digits are a valid mobile
        ("119.876.543-21", "BR", "not_a_phone"),  # a CPF: likewise
        ("2026-11-25", "CL", "not_a_phone"),
        ("https://wa.me/message/ABCDEF", None, "not_a_phone"),
        ("https://chat.whatsapp.com/ABCDEF", None, "not_a_phone"),
        ("5491158749895@lid", None, "not_a_phone"),
        ("ana@example.com", None, "characters"),
        ("961234567 (casa)", "CL", "characters"),
        ("961234567 #2", "CL", "extension"),
        ("tel:+56961234567;ext=12", None, "extension"),
        ("+56 961234567 x 5", None, "extension"),
        ("-56961234567", None, "characters"),
        (-56961234567, None, "characters"),
        ("++56961234567", None, "characters"),
        ("(56) 961234567)", None, "characters"),
        ('"56961234567"', None, "characters"),
        ("()", None, "characters"),
        ("+", None, "characters"),
        ("x" * 100_000, "CL", "characters"),
        ("1" * 100_000, "CL", "invalid"),
        ("000000000000", "CL", "no_country_code"),
        ("56961234567.5", None, "spreadsheet"),
        (Decimal("5.69612E+10"), None, "spreadsheet"),
        (Decimal("56961234567.5"), None, "float"),
        (Decimal("NaN"), None, "missing"),
        (Decimal("Infinity"), None, "float"),
        (b"56961234567", None, "type"),
        (["56961234567"], None, "type"),
        ("52 55", "MX", "invalid"),
        ("+54 11 5874 9895 1234567", None, "invalid"),
        ("15 11 5874 9895", "AR", "invalid"),
        ("0800 555 1234", "AR", "service_number"),
        ("+55 98765 4321", None, "no_area_code"),
        ("+44 20 7946 0018", None, "landline"),
    ],
)
def test_what_is_not_one_number_is_refused_with_its_reason(value: object, region: str | None, reason: str) -> None:
    assert outcome(value, region) == f"reject:{reason}"


def test_a_number_that_python_refuses_to_write_is_refused() -> None:
    assert outcome(10**5000) == outcome(Decimal("1" * 5000)) == "reject:invalid"


@pytest.mark.parametrize("name", ["NAType", "NaTType"])
def test_the_nulls_of_pandas_are_missing(name: str) -> None:
    """pandas is not needed to know them by the names of their types."""
    assert outcome(type(name, (), {})()) == "reject:missing"


@pytest.mark.parametrize(
    ("value", "region", "number"),
    [
        ("whatsapp:+56961234567", None, CHILE),
        ("tel:961234567", "CL", CHILE),
        ("wa.me/+56961234567", None, CHILE),
        ("https://api.whatsapp.com/send/?text=Hola&phone=%2B56961234567&x=1", None, CHILE),
        ("whatsapp://send?phone=56961234567", None, CHILE),
        ("56961234567.0:12@s.whatsapp.net", None, CHILE),
        # An id names its country, so it is not a mobile of Porto Alegre.
        ("51987654321@c.us", "BR", PERU),
        ("+56 9 6123 4567.", None, CHILE),
        ("56961234567;", None, CHILE),
        ("9.6123.4567", "CL", CHILE),
        ("(+56) (9) 6123-4567", None, CHILE),
        ("011 56 9 6123 4567", "US", CHILE),
        ("0051987654321", None, PERU),
        ("02901 15 401234", "AR", "+5492901401234"),
        ("0 15 11 98765-4321", "BR", BRAZIL),
        ("1 415 555 2671", "US", "+14155552671"),
        ("+39 312 345 6789", None, "+393123456789"),
        ("+44 7400 123456", None, "+447400123456"),
    ],
)
def test_other_spellings_of_one_person_have_one_number(value: object, region: str | None, number: str) -> None:
    assert outcome(value, region) == number


@pytest.mark.parametrize(
    ("value", "allowed", "result"),
    [
        ("447400123456", None, "reject:no_country_code"),
        ("447400123456", "GB", "+447400123456"),
        ("447400123456", "gb, CL", "+447400123456"),
        ("56961234567", "GB", "reject:no_country_code"),
        ("+56961234567", "GB", CHILE),
        ("51987654321", "PE CL", PERU),
        ("18095550123", "US", "reject:no_country_code"),
        ("18095550123", "US,DO", "+18095550123"),
        ("14155552671", "US", "+14155552671"),
        ("447400123456@c.us", None, "reject:no_country_code"),
        ("447400123456@c.us", "GB", "+447400123456"),
    ],
)
def test_digits_without_a_plus_sign_belong_to_an_allowed_country(value: str, allowed: str | None, result: str) -> None:
    assert outcome(value, allowed=allowed) == result


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"default_region": "XX"}, "default_region"),
        ({"default_region": "Chile"}, "default_region"),
        ({"default_region": ""}, "default_region"),
        ({"allowed_countries": "CL, Chile"}, "allowed_countries"),
        ({"allowed_countries": [""]}, "allowed_countries"),
        ({"repair": "all"}, "repair"),
    ],
)
def test_an_argument_that_cannot_be_is_named(arguments: dict, named: str) -> None:
    with pytest.raises(VambeConfigError, match=named):
        canonical_number(CHILE, **arguments)


@pytest.mark.parametrize("value", ["61234567", "+56 2 2123 4567", "961234567.0", "96.123.456-7", "wa.me/961234567"])
def test_an_error_shows_the_last_three_digits_at_most(value: str) -> None:
    with pytest.raises(PhoneNumberError) as caught:
        canonical_number(value)
    assert caught.value.problems[0].startswith("to_phone_number: ")
    digits = "".join(char for char in value if char.isdigit())
    assert digits[-4:] not in "".join(str(caught.value).split())


# --- Properties -----------------------------------------------------------------------------------------------------

_HOMES = {
    "CL": "9[0-9]{8}",
    "MX": "(33|55|56|81|222|614|656|664|696|868|999)[0-9]{7}",
    "AR": "9?(11[0-9]|351|341|379)[0-9]{7}",
    "BR": "(11|21|34|51|53|54|55|66|84|91)9[0-9]{8}",
    "CO": "3(0[0-5]|1[0-9]|2[0-3]|50)[0-9]{7}",
    "PE": "9[0-9]{8}",
    "UY": "9[1-9][0-9]{6}",
    "EC": "9[5-9][0-9]{7}",
    "US": "(305|415|501|502|507|919)[2-9][0-9]{6}",
    "ES": "6[0-9]{8}",
}


@st.composite
def slips(draw: st.DrawFn) -> tuple[str, str, str]:
    """Return a region, one of its numbers as a warehouse may hold it, and the same with a stray digit."""
    region = draw(st.sampled_from(sorted(_HOMES)))
    code = str(phonenumbers.country_code_for_region(region))
    national = draw(st.from_regex(_HOMES[region], fullmatch=True))
    written = draw(st.sampled_from(["", code, "0"])) + national
    place = draw(st.integers(0, len(written)))
    return region, written, written[:place] + draw(st.sampled_from("0123456789")) + written[place:]


@given(slips())
def test_one_stray_digit_never_leads_abroad(slip: tuple[str, str, str]) -> None:
    region, written, wrong = slip
    if outcome(written, region).startswith("reject:"):
        return
    found = outcome(wrong, region)
    code = phonenumbers.country_code_for_region(region)
    assert found.startswith(("reject:", f"+{code}")), (written, wrong)


numbers = st.one_of(
    st.from_regex(r"(\+|00)?(52|521|54|549|55|56|57|51|1|34|598)?[0-9]{7,12}", fullmatch=True),
    st.integers(0, 10**16),
)
regions = st.sampled_from([None, "CL", "MX", "AR", "BR", "CO", "PE", "US"])


@given(numbers, regions, regions)
def test_the_canonical_form_is_its_own_canonical_form_everywhere(
    value: object, region: str | None, other: str | None
) -> None:
    found = outcome(value, region)
    if not found.startswith("reject:"):
        assert outcome(found, other) == outcome(found, other, repair="none") == found


@given(st.text(max_size=30), regions)
def test_any_text_is_a_number_or_one_of_our_errors(value: str, region: str | None) -> None:
    found = outcome(value, region)
    assert found.startswith(("+", "reject:"))


@given(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)), st.data())
def test_a_number_with_a_plus_sign_is_valid_where_the_library_says_so(region: str, data: st.DataObject) -> None:
    """The rules here are shortcuts, except for Chile, where the library does not know mobiles."""
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    if example is None or region == "CL":
        return
    national = phonenumbers.national_significant_number(example)
    kept = data.draw(st.integers(1, len(national)))
    digits = national[:kept] + "".join(data.draw(st.sampled_from("0123456789")) for _ in national[kept:])
    number = f"+{example.country_code}{digits}"
    parsed = phonenumbers.parse(number)
    written = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    mobile = phonenumbers.number_type(parsed) in (
        phonenumbers.PhoneNumberType.MOBILE,
        phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
    )
    found = outcome(number, repair="none")
    if region != "BR":  # numbers of a former radio service are refused there
        assert found == written if mobile else found.startswith("reject:")


@given(numbers)
def test_each_alias_is_the_same_person(value: object) -> None:
    found = outcome(value)
    if found.startswith("reject:"):
        return
    aliases = number_aliases(found)
    assert found[1:] in aliases
    for alias in aliases:
        assert number_aliases(alias) == aliases
        # Nobody reads an alias of the radio service's range as a number.
        assert outcome(f"+{alias}") in (found, "reject:old_format")


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
def test_aliases_are_the_spellings_that_whatsapp_may_use(number: str, aliases: set[str]) -> None:
    assert number_aliases(number) == aliases


@pytest.mark.parametrize(
    ("number", "masked"),
    [(CHILE, "***567"), ("+56 9 6123-4567", "***567"), ("123456", "***"), ("", "***"), ("abc", "***")],
)
def test_a_masked_number_shows_its_end_only(number: str, masked: str) -> None:
    assert mask_number(number) == masked
