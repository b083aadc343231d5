from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {
    "airflow",
    "aiohttp",
    "holidays",
    "httpx",
    "pendulum",
    "phonenumbers",
    "pydantic",
    "sqlalchemy",
    "tomllib",
    "yaml",
}


def loaded_after(code: str) -> set[str]:
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    # A coverage run would read its own settings in the process, with tomllib.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=plain).stdout
    return {name.partition(".")[0] for name in output.split()} & HEAVY


@pytest.mark.parametrize(
    "code",
    [
        "import vambe_provider.contact_policy",
        "from vambe_provider.contact_policy import canonical_number, ContactPolicy, ContactWindow, Cap, WarmUp",
        """
from vambe_provider.contact_policy import ContactPolicy, read_policy
ContactPolicy(windows="preset", timezone="America/Lima")
read_policy("cl-debt")
read_policy({"caps": [{"n": 2}], "timezone": "zone"})
""",
        "from vambe_provider.contact_policy import Decision, Facts, explain, needs, person_of",
    ],
)
def test_a_policy_in_a_dag_file_loads_no_library(code: str) -> None:
    assert not loaded_after(code)


def test_deciding_about_a_number_never_loads_the_names_of_places() -> None:
    """They are 100 MiB."""
    code = """
import sys
from datetime import UTC, datetime
from vambe_provider.contact_policy import Facts, canonical_number, explain, person_of, read_policy
policy = read_policy("us-marketing")
person = person_of(canonical_number("+1 415 555 2671"), policy=policy)
explain(person, None, datetime.now(UTC), Facts.of_a_stranger(policy), policy)
assert "phonenumbers.timezone" in sys.modules
assert not [name for name in sys.modules if name.startswith(("phonenumbers.geo", "phonenumbers.carrier"))]
"""
    assert loaded_after(code) == {"holidays", "phonenumbers", "tomllib"}
