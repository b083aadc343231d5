from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from packaging.utils import canonicalize_name

from vambe_provider.api.settings import EXTRA_FIELDS, ConnectionSettings
from vambe_provider.delivery.model import Origin
from vambe_provider.delivery.options import DeliveryOptions
from vambe_provider.provider_info import get_provider_info


def test_airflow_accepts_it() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_name_is_that_of_the_distribution() -> None:
    name = get_provider_info()["package-name"]
    assert name == canonicalize_name(name) == "airflow-provider-vambe"


def _modules(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value.startswith("vambe_provider.") else []
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [found for item in items for found in _modules(item)]


@pytest.mark.parametrize("path", sorted(set(_modules(get_provider_info()))))
def test_everything_it_names_exists(path: str) -> None:
    try:
        import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        assert hasattr(import_module(module), name)


def _connection_type() -> dict[str, Any]:
    [connection_type] = get_provider_info()["connection-types"]
    return dict(connection_type)


def test_the_form_has_a_field_for_each_setting() -> None:
    assert set(_connection_type()["conn-fields"]) == set(EXTRA_FIELDS)


def test_an_untouched_form_is_a_usable_connection() -> None:
    fields = _connection_type()["conn-fields"]
    assert all("null" in field["schema"]["type"] for field in fields.values())
    settings = ConnectionSettings.from_fields(password="key", extra=dict.fromkeys(fields), port=0)
    assert settings.base_url == _connection_type()["ui-field-behaviour"]["placeholders"]["host"]


def test_each_option_is_documented_and_its_default_is_that_of_the_delivery() -> None:
    options = get_provider_info()["config"]["vambe"]["options"]
    for option in options.values():
        assert set(option) >= {"description", "version_added", "type", "example", "default"}
    built_in = DeliveryOptions(origin=Origin("d", "t", "r"), account="a")
    assert float(options["lease"]["default"]) == built_in.lease
    assert float(options["retry_budget"]["default"]) == built_in.retry_budget
    assert tuple(float(part) for part in options["reconcile_polls"]["default"].split(",")) == built_in.polls
