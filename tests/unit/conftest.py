"""What the tests of the Airflow edges share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vambe_provider.sandbox import Sandbox

Connect = Callable[..., str]


@pytest.fixture
def connect(vambe_sandbox: Sandbox) -> Connect:
    """Return a function that makes an Airflow connection to the sandbox; arguments replace its fields."""

    def make(conn_id: str = "vambe_default", **fields: Any) -> str:
        extra = {"phone_id": "qr-main", "rate": "none", **fields.pop("extra", {})}
        connection = {"conn_type": "vambe", "host": vambe_sandbox.url, "password": vambe_sandbox.api_key, **fields}
        os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps({**connection, "extra": extra})
        return conn_id

    return make


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return a function that returns all that was logged; Airflow 3 writes past the logging of the standard library."""
    caplog.set_level("DEBUG")
    return lambda: "".join(capsys.readouterr()) + caplog.text
