from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vambe_provider.api import ConnectionSettings
from vambe_provider.api.rate import Rate, parse_rate
from vambe_provider.api.settings import EXTRA_FIELDS
from vambe_provider.exceptions import VambeConfigError

KEY = "key-5f2a9c"


def made(**fields: Any) -> ConnectionSettings:
    return ConnectionSettings.from_fields(**{"password": KEY, **fields})


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, "https://api.vambe.me"),
        ({"host": None, "schema": "", "port": 0}, "https://api.vambe.me"),
        ({"host": "null"}, "https://api.vambe.me"),
        ({"host": "https://api.vambe.me/"}, "https://api.vambe.me"),
        ({"host": "api.vambe.me"}, "https://api.vambe.me"),
        ({"host": "api.vambe.me", "schema": "HTTPS", "port": "443"}, "https://api.vambe.me:443"),
        ({"host": "gw.example.com/vambe/v1//"}, "https://gw.example.com/vambe/v1"),
        ({"host": "gw.example.com/vambe", "port": 8443}, "https://gw.example.com:8443/vambe"),
        ({"host": "https://gw.example.com:9443", "port": 8443}, "https://gw.example.com:9443"),
        ({"host": "https://gw.example.com:", "port": None}, "https://gw.example.com"),
        ({"host": "https://gw.example.com:", "port": "none"}, "https://gw.example.com"),
        ({"host": "http://127.0.0.1:8700"}, "http://127.0.0.1:8700"),
        ({"host": "localhost", "port": 8700}, "http://localhost:8700"),
        ({"host": "127.8.0.1", "schema": "http"}, "http://127.8.0.1"),
        ({"host": "localhost", "schema": "https"}, "https://localhost"),
        ({"host": "::1", "port": 8700}, "http://[::1]:8700"),
        ({"host": "[::1]:8700"}, "http://[::1]:8700"),
    ],
)
def test_the_base_url_that_a_connection_means(fields: dict[str, Any], base_url: str) -> None:
    assert made(**fields).base_url == base_url


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"host": "http://api.vambe.me"}, "in the clear to api.vambe.me"),
        ({"host": "api.vambe.me", "schema": "http"}, "in the clear"),
        ({"host": "http://localhost.example.com"}, "in the clear"),
        ({"host": "http://127.0.0.1.example.com"}, "in the clear"),
        ({"host": "https://user:secret@api.vambe.me"}, "user or a password"),
        ({"host": "https://secret@api.vambe.me"}, "user or a password"),
        ({"host": "https://api.vambe.me?key=secret"}, "query or a fragment"),
        ({"host": "https://api.vambe.me/#secret"}, "query or a fragment"),
        ({"host": "ftp://api.vambe.me"}, "not an http or https URL"),
        ({"host": "https://"}, "not an http or https URL"),
        ({"host": "https://[::1"}, "not a URL"),
        ({"host": "https://api.vambe.me:99999"}, "port in the URL"),
        ({"host": "https://api.vambe.me:x"}, "port in the URL"),
        ({"host": "https://api.vambe.me/a/../b"}, "dot segment"),
        ({"host": "https://api.vambe.me/a b"}, "space"),
        ({"host": "https://api..vambe.me"}, "host: a part of the host name is empty, too long"),
        ({"host": f"https://{'a' * 64}.me"}, "host: a part of the host name is empty, too long"),
        ({"host": "https://.vambe.me"}, "host: a part of the host name is empty, too long"),
        ({"host": "api.vambe.me", "schema": "grpc"}, "schema: "),
        ({"host": "api.vambe.me", "port": "abc"}, "port: "),
        ({"host": "api.vambe.me", "port": 65536}, "port: "),
        ({"password": None}, "password: the API key is missing"),
        ({"password": "  "}, "password: the API key is missing"),
        ({"password": "secret key"}, "password: "),
        ({"password": "secret\nX-Injected: 1"}, "password: "),
        ({"password": "secretñ"}, "password: "),
        ({"extra": {"channel": "secret"}}, "channel: not one of web-whatsapp, whatsapp"),
        ({"extra": {"channel": ["whatsapp"]}}, "extra channel: "),
        ({"extra": {"default_region": "Chile"}}, "extra default_region: "),
        ({"extra": ["secret"]}, "extra: a JSON object is needed, not a list"),
        ({"extra": "secret"}, "extra: a JSON object is needed, not a str"),
        ({"extra": {"account": ["secret"]}}, "extra account: "),
        ({"extra": {"account": "secret\x1b"}}, "extra account: "),
        ({"extra": {"account": "secret" * 20}}, "extra account: "),
        ({"extra": {"allowed_countries": []}}, "extra allowed_countries: "),
        ({"extra": {"allowed_countries": "secret"}}, "extra allowed_countries: "),
        ({"extra": {"allowed_countries": "CL,,MX"}}, "extra allowed_countries: "),
        ({"extra": {"allowed_countries": {"CL": 1}}}, "extra allowed_countries: "),
        ({"extra": {"allowed_countries": ["CL", None]}}, "extra allowed_countries: "),
        ({"extra": {"repair": "secret"}}, "extra repair: not one of none, safe"),
        ({"extra": {"repair": True}}, "extra repair: "),
        ({"extra": {"contact_policy": ["secret"]}}, "extra contact_policy: "),
        ({"extra": {"timeout": "soon"}}, "extra timeout: "),
        ({"extra": {"timeout": 0}}, "extra timeout: "),
        ({"extra": {"timeout": -1}}, "extra timeout: "),
        ({"extra": {"timeout": "nan"}}, "extra timeout: "),
        ({"extra": {"timeout": 601}}, "extra timeout: "),
        ({"extra": {"timeout": True}}, "extra timeout: "),
        ({"extra": {"rate": "secret"}}, "rate: not a rate"),
        ({"extra": {"rate": 10}}, "rate: not a rate"),
        ({"extra": {"phone_id": 1951.0}}, "extra phone_id: "),
        ({"extra": {"phone_id": True}}, "extra phone_id: "),
        ({"extra": {"app_url": "http://app.vambeai.com"}}, "app_url: "),
        ({"extra": {"phoneId": "qr-main"}}, "Did you mean phone_id?"),
        ({"extra": {"time_out": 3}}, "Did you mean timeout?"),
    ],
)
def test_a_wrong_field_is_named_and_no_secret_is_shown(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(VambeConfigError) as caught:
        made(**fields)
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


def test_defaults() -> None:
    settings = made(extra={})
    assert settings == ConnectionSettings(api_key=KEY)
    assert (settings.channel, settings.timeout, settings.rate, settings.phone_id) == (
        "web-whatsapp",
        30,
        "10/minute",
        None,
    )
    assert (settings.app_url, settings.default_region, settings.host) == (
        "https://app.vambeai.com",
        None,
        "api.vambe.me",
    )


@pytest.mark.parametrize("absent", [None, "", " ", "null", "None"])
def test_what_an_untouched_form_stores_means_the_default(absent: str | None) -> None:
    # "none" is a value of its own for these two.
    own = dict.fromkeys(("rate", "repair"), absent if absent != "None" else None)
    assert made(extra={**dict.fromkeys(EXTRA_FIELDS, absent), **own}) == made()


def test_values_may_be_texts_and_may_carry_the_prefix_of_old_forms() -> None:
    extra = {
        "extra__vambe__phone_id": 1951,
        "channel": "WhatsApp",
        "default_region": "cl",
        "timeout": "12.5",
        "rate": "1/6 seconds",
        "app_url": "https://app.example.com/",
        "something_else": {"kept": "out"},
    }
    settings = made(extra=extra)
    assert (settings.phone_id, settings.channel, settings.default_region) == ("1951", "whatsapp", "CL")
    assert (settings.timeout, settings.rate, settings.app_url) == (12.5, "1/6 seconds", "https://app.example.com")


@pytest.mark.parametrize(
    ("fields", "account"),
    [
        ({}, "api.vambe.me"),
        ({"host": "https://API.Vambe.me:443/"}, "api.vambe.me"),
        ({"host": "https://api.vambe.me./gateway"}, "api.vambe.me"),
        ({"host": "https://gw.example.com:8443"}, "gw.example.com:8443"),
        ({"host": "http://127.0.0.1:8700"}, "127.0.0.1:8700"),
        ({"host": "::1", "port": 8700}, "[::1]:8700"),
        ({"host": "http://localhost:80"}, "localhost"),
        ({"extra": {"account": " chile "}}, "api.vambe.me/chile"),
        ({"extra": {"account": 7}}, "api.vambe.me/7"),
        ({"extra": {"account": " "}}, "api.vambe.me"),
        ({"password": "another-key", "extra": {"phone_id": "x"}}, "api.vambe.me"),
    ],
)
def test_whose_tickets_these_are(fields: dict[str, Any], account: str) -> None:
    assert made(**fields).account == account


@pytest.mark.parametrize("given", ["cl, MX ,br,CL", ["cl", "MX", "br"], ("CL", "MX", "BR")])
def test_countries_are_a_list_or_a_text(given: Any) -> None:
    assert made(extra={"allowed_countries": given}).allowed_countries == ("CL", "MX", "BR")


@pytest.mark.parametrize(
    "policy", ["chile", '{"purpose": "debt"}', {"purpose": "debt", "windows": [{"start": "9:00"}]}]
)
def test_a_policy_is_passed_on_as_it_is(policy: Any) -> None:
    settings = made(extra={"contact_policy": policy})
    assert settings.contact_policy == policy
    assert hash(settings) == hash(made(extra={"contact_policy": policy})), "clients are shared by their settings"
    assert settings != made()


def test_a_repair_is_named() -> None:
    assert [made(extra={"repair": text}).repair for text in ("none", "Safe", None)] == ["none", "safe", "safe"]


@pytest.mark.parametrize("key", ["", "secret key", "secret\r\nX-Injected: 1", "secretñ"])
def test_a_key_that_was_given_by_hand_is_checked_too(key: str) -> None:
    with pytest.raises(VambeConfigError, match="password: ") as caught:
        ConnectionSettings(api_key=key)
    assert "secret" not in str(caught.value)


def test_no_repr_shows_a_secret() -> None:
    settings = made(extra={"rate_store": "redis://:secret@cache:6379"})
    assert settings.rate_store == "redis://:secret@cache:6379"
    assert KEY not in repr(settings)
    assert "secret" not in repr(settings)


def test_settings_that_were_made_by_hand_are_held_to_https_too() -> None:
    with pytest.raises(VambeConfigError, match="in the clear"):
        ConnectionSettings(api_key=KEY, base_url="http://api.vambe.me")


@pytest.mark.parametrize(
    ("extra", "own", "other_channel", "other"),
    [
        ({}, Rate(10, 60), "whatsapp", None),
        ({"channel": "web_whatsapp"}, Rate(10, 60), "web-whatsapp", Rate(10, 60)),
        ({"channel": "whatsapp"}, None, "web-whatsapp", Rate(10, 60)),
        ({"rate": "5/hour"}, Rate(5, 3600), "whatsapp", Rate(5, 3600)),
        ({"rate": "10/minute"}, Rate(10, 60), "whatsapp", Rate(10, 60)),
        ({"rate": "none"}, None, "whatsapp", None),
        ({"rate": "Unlimited"}, None, "web-whatsapp", None),
    ],
)
def test_the_rate_of_a_sender(extra: dict[str, Any], own: Rate | None, other_channel: str, other: Rate | None) -> None:
    settings = made(extra=extra)
    assert settings.rate_for() == own
    assert settings.rate_for(other_channel) == other


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/minute", Rate(10, 60)),
        (" 10 / Minutes ", Rate(10, 60)),
        ("10 per minute", Rate(10, 60)),
        ("3/s", Rate(3, 1)),
        ("3/2h", Rate(3, 7200)),
        ("1/6 seconds", Rate(1, 6)),
        ("200/day", Rate(200, 86400)),
        (None, None),
        ("none", None),
    ],
)
def test_how_a_rate_is_written(text: str | None, rate: Rate | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "10", "0/minute", "10/0 minutes", "-1/minute", "1.5/minute", "10/fortnight", "/minute"]
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(VambeConfigError, match="Write it as 10/minute"):
        parse_rate(text)


@given(st.integers(1, 10**6), st.integers(1, 10**5))
def test_a_rate_can_be_read_back(count: int, seconds: int) -> None:
    rate = Rate(count, seconds)
    assert parse_rate(str(rate)) == rate
    assert rate.interval == pytest.approx(seconds / count)
