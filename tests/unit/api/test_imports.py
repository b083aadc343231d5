from __future__ import annotations

import subprocess
import sys
import threading

import pytest

import vambe_provider.api
from vambe_provider.api.environment import ssl_context

HEAVY = {"pydantic", "httpx", "aiohttp", "phonenumbers", "airflow"}


def loaded_after(code: str) -> set[str]:
    command = [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in output.split()} & HEAVY


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("from vambe_provider.api import ConnectionSettings", set()),
        ("from vambe_provider.api.rate import parse_rate", set()),
        ("from vambe_provider.contact_policy.numbers import canonical_number", set()),
        ("from vambe_provider.api import OpenTicket", {"pydantic"}),
        ("from vambe_provider.api import VambeClient", {"pydantic", "aiohttp", "httpx"}),
    ],
)
def test_a_name_loads_only_what_it_needs(code: str, loaded: set[str]) -> None:
    assert loaded_after(code) == loaded


def test_every_public_name_exists_and_no_other() -> None:
    assert all(getattr(vambe_provider.api, name) is not None for name in vambe_provider.api.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        vambe_provider.api.Nothing  # noqa: B018 - asking for it is the test


def test_all_threads_get_the_same_tls_context() -> None:
    contexts: list[object] = []
    threads = [threading.Thread(target=lambda: contexts.append(ssl_context())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(context) for context in contexts}) == 1
    assert len(contexts) == 4
