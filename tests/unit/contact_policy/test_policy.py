from __future__ import annotations

import copy
import pickle
from datetime import date, time, timedelta

import pytest

from tests.unit.contact_policy.asked import CHILE, ask, policy_of, utc
from vambe_provider.contact_policy import Cap, ContactPolicy, ContactWindow, Suppression, WarmUp, read_policy
from vambe_provider.exceptions import VambeConfigError

WRONG: list[tuple[object, str, str]] = [
    ("cl", "contact_policy.preset", "cl-debt, cl-debt-strict"),
    ("", "contact_policy: is given but empty", "name a preset"),
    ("   ", "contact_policy: is given but empty", "name a preset"),
    ('{"purpose":', "contact_policy: is not valid JSON", ""),
    (5, "contact_policy: is of the type int", "the name of a preset"),
    ([], "contact_policy: is of the type list", ""),
    ({"windws": "any"}, "contact_policy.windws: there is no such field", "Did you mean windows?"),
    ({1: 2}, "contact_policy.1: there is no such field", "purpose, windows, timezone"),
    ({"purpose": "sales"}, "contact_policy.purpose", "service, marketing, debt"),
    ({"purpose": None}, "contact_policy.purpose", "service, marketing, debt"),
    ({"on_closed": "wait"}, "contact_policy.on_closed", "postpone, skip, fail"),
    ({"windows": "always"}, "contact_policy.windows", "any, preset or a list of windows"),
    ({"windows": []}, "contact_policy.windows: is empty", "any"),
    ({"windows": [5]}, "contact_policy.windows[0]", "ContactWindow"),
    ({"windows": [{"days": "mon"}, {"days": "mon-fry"}]}, "contact_policy.windows[1].days", "mon, tue, wed"),
    ({"windows": [{"days": ""}]}, "contact_policy.windows[0].days", ""),
    ({"windows": [{"end": 1200}]}, "contact_policy.windows[0].end", "YAML reads 20:00"),
    ({"windows": [{"end": "25:00"}]}, "contact_policy.windows[0].end", "00:00 to 24:00"),
    ({"windows": [{"end": "24:30"}]}, "contact_policy.windows[0].end", "00:00 to 24:00"),
    ({"windows": [{"start": "24:00"}]}, "contact_policy.windows[0].start", "00:00"),
    ({"windows": [{"holidays": "no"}]}, "contact_policy.windows[0].holidays", "true or false"),
    ({"windows": [{"countries": "Chile"}]}, "contact_policy.windows[0].countries", "CL or MX"),
    ({"windows": [{"countries": []}]}, "contact_policy.windows[0].countries", "Leave it out"),
    ({"caps": {"n": 1}}, "contact_policy.caps: has to be a list", ""),
    ({"caps": [{}]}, "contact_policy.caps[0].n: is missing", ""),
    ({"caps": [{"n": 0}]}, "contact_policy.caps[0].n", "from 1"),
    ({"caps": [{"n": True}]}, "contact_policy.caps[0].n", "from 1"),
    ({"caps": [{"n": 1, "per": "account"}]}, "contact_policy.caps[0].per", "person, sender"),
    ({"caps": [{"n": 1, "period": "soon"}]}, "contact_policy.caps[0].period", "7 days, 48h"),
    ({"caps": [{"n": 1, "period": "0 days"}]}, "contact_policy.caps[0].period", "7 days, 48h"),
    ({"caps": [{"n": 1, "min_gap": 48}]}, "contact_policy.caps[0].min_gap", "7 days, 48h"),
    ({"caps": [{"n": 1, "per": "sender", "min_gap": "1h"}]}, "contact_policy.caps[0].min_gap", "rate"),
    ({"caps": [{"n": 1, "scope": "sender"}]}, "contact_policy.caps[0].scope", "ledger, namespace"),
    ({"new_people": {"ceiling": 1}}, "contact_policy.new_people.ceiling", "first_day"),
    ({"new_people": {"step": -1}}, "contact_policy.new_people.step", "from 0"),
    ({"suppression": {"conn_id": "x"}}, "contact_policy.suppression.conn_id", "sql"),
    ({"suppression": {"sql": " "}}, "contact_policy.suppression.sql", ""),
    ({"suppression": {"column": "x", "max_age": "soon"}}, "contact_policy.suppression.max_age", "30 minutes"),
    ({"expires": ""}, "contact_policy.expires", ""),
    ({"expires": timedelta()}, "contact_policy.expires", ""),
    ({"timezone": "America/Santigo"}, "contact_policy.timezone", "America/Santiago"),
    ({"sender_timezone": "Santiago"}, "contact_policy.sender_timezone", "America/Santiago"),
    ({"holiday_dates": "2026-01-01"}, "contact_policy.holiday_dates", "list"),
    ({"holiday_dates": ["01/01/2026"]}, "contact_policy.holiday_dates", "2026-12-24"),
    ({"holiday_regions": "CL"}, "contact_policy.holiday_regions", "CL-NB"),
    ({"preset": 5}, "contact_policy.preset", ""),
    ({"preset": "cl-debt", "purposes": "debt"}, "contact_policy.purposes", "purpose"),
]


@pytest.mark.parametrize(("value", "named", "allowed"), WRONG, ids=[str(value)[:60] for value, _, _ in WRONG])
def test_a_wrong_policy_names_the_field_and_what_it_may_be(value: object, named: str, allowed: str) -> None:
    with pytest.raises(VambeConfigError) as caught:
        read_policy(value)
    assert caught.value.message.startswith(named)
    assert allowed in str(caught.value)


def test_an_argument_of_another_name_is_named() -> None:
    with pytest.raises(VambeConfigError, match=r"^extra contact_policy\.purpose: "):
        read_policy({"purpose": "x"}, argument="extra contact_policy")


def test_no_policy_is_no_policy() -> None:
    assert read_policy(None) is None


def test_a_policy_a_mapping_and_json_text_mean_the_same() -> None:
    window = ContactWindow(days="mon-fri", start="09:00", end="20:00", countries=["CL"])
    policy = ContactPolicy(
        purpose="debt",
        windows=[window],
        caps=[Cap(2, min_gap="48h"), Cap(100, per="sender", period="day", scope="account")],
        new_people=WarmUp(),
        suppression=Suppression(sql="select phone from opt_outs", conn_id="crm"),
        expires="2 days",
        holiday_dates=[date(2026, 12, 24)],
    )
    text = """{"purpose": "debt", "windows": [{"days": ["mon-fri"], "start": "9:00", "countries": "cl"}],
        "caps": [{"n": 2, "period": "1 week", "min_gap": "2 days"},
                 {"n": 100, "per": "sender", "period": "day", "scope": "account"}],
        "new_people": {}, "suppression": {"sql": "select phone from opt_outs", "conn_id": "crm"},
        "expires": "2 days", "holiday_dates": ["2026-12-24"]}"""
    assert read_policy(policy) is policy
    assert read_policy(text) == policy
    assert hash(policy_of(text)) == hash(policy)


def test_what_yaml_makes_of_a_policy_is_understood() -> None:
    import yaml

    text = "windows:\n- {days: mon-fri, start: 09:00, end: '20:00'}\nholiday_dates: [2026-12-24]\ncaps: [{n: 2}]\n"
    policy = policy_of(yaml.safe_load(text))
    assert policy.window_list[0].minutes == (540, 1200)
    assert policy.holiday_dates == (date(2026, 12, 24),)
    with pytest.raises(VambeConfigError, match=r"windows\[0\].end.*quotes"):
        read_policy(yaml.safe_load("windows: [{end: 20:00}]"))


def test_a_preset_can_be_changed() -> None:
    policy = policy_of({"preset": "cl-debt", "timezone": "zone_column", "caps": [{"n": 1}]})
    assert policy.preset == "cl-debt@2026-11-25"
    assert (policy.purpose, policy.timezone_column, policy.cap_list) == ("debt", "zone_column", (Cap(1),))
    assert policy.window_list == policy_of("cl-debt").window_list
    assert ContactPolicy.from_preset("cl-debt") == policy_of(" cl-debt ")


def test_a_policy_cannot_only_be_called_like_a_preset() -> None:
    with pytest.raises(TypeError):
        ContactPolicy(preset="cl-debt")  # type: ignore[call-arg]


def test_a_policy_can_be_copied_pickled_and_shown() -> None:
    policy = policy_of("cl-debt")
    ask(policy, utc("2026-11-25T15:00"))  # has worked out its rules
    assert copy.deepcopy(policy) == pickle.loads(pickle.dumps(policy)) == policy
    assert CHILE not in repr(policy)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("Mon-Sat, sun", set(range(7))),
        ("daily", set(range(7))),
        ("sat", {5}),
        ("fri-mon", {4, 5, 6, 0}),
        (["mon", "wed-thu"], {0, 2, 3}),
    ],
)
def test_days(text: str | list[str], days: set[int]) -> None:
    assert ContactWindow(text).weekdays == days


def test_times_of_day() -> None:
    assert ContactWindow(start="9:00", end="24:00").minutes == (540, 1440)
    assert ContactWindow(start="22:00", end="02:00").minutes == (1320, 1560)
    assert ContactWindow(start="00:00", end="00:00").minutes == (0, 1440)
    assert ContactWindow(start=time(8), end=time(20, 30)).minutes == (480, 1230)


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("7 days", timedelta(days=7)),
        ("48h", timedelta(hours=48)),
        ("1 week 2 days", timedelta(days=9)),
        ("90 min", timedelta(minutes=90)),
        ("30 Seconds", timedelta(seconds=30)),
        (timedelta(days=1), timedelta(days=1)),
    ],
)
def test_lengths_of_time(value: str | timedelta, length: timedelta) -> None:
    assert Cap(1, period=value).period == length


def test_the_columns_that_a_policy_reads_are_known_before_a_row_is() -> None:
    policy = ContactPolicy(timezone="zone", expires="due", suppression={"column": "opted_out"})
    assert policy.columns == ("zone", "due", "opted_out")
    assert ContactPolicy(timezone="America/Lima", expires="2 days").columns == ()
