from __future__ import annotations

import pytest

from vambe_provider.exceptions import (
    VambeAuthError,
    VambeConfigError,
    VambeError,
    VambeRateLimitError,
    VambeReadError,
    VambeRefusedError,
)
from vambe_provider.waiting.patience import (
    Patience,
    Refusals,
    is_asked_to_wait,
    is_mistake,
    is_refusal,
    refuses_the_key,
)

FAILED = VambeReadError("no answer", status=503)


def test_so_many_looks_of_its_own_may_fail() -> None:
    patience = Patience(3, 60.0)
    assert [patience.fail(FAILED, now=float(now)) for now in (0, 60, 120)] == [False, False, True]


def test_the_looks_of_others_between_its_own_do_not_count() -> None:
    patience = Patience(3, 60.0)
    assert not any(patience.fail(FAILED, now=float(now)) for now in range(90))
    assert patience.fail(FAILED, now=120.0)


def test_a_good_look_starts_anew() -> None:
    patience = Patience(2, 60.0)
    patience.fail(FAILED, now=0.0)
    patience.good()
    assert patience.error is None
    assert not patience.fail(FAILED, now=60.0)


@pytest.mark.parametrize(
    "error",
    [VambeRateLimitError("wait", status=429, retry_after=60.0), VambeRateLimitError("wait", status=429),
     VambeReadError("wait", status=503, retry_after=60.0)],
)  # fmt: skip
def test_being_asked_to_wait_costs_nothing_and_is_remembered(error: VambeError) -> None:
    patience = Patience(1, 60.0)
    assert not any(patience.fail(error, now=60.0 * look) for look in range(100))
    assert patience.error is error


def test_a_refusal_is_final_when_it_was_repeated_over_looks_of_the_wait() -> None:
    refusals, gone = Refusals(), VambeRefusedError("gone", status=404)
    for second in range(100):
        refusals.add(gone, now=float(second))
    assert not refusals.final(60.0, now=90.0)
    assert refusals.final(60.0, now=120.0)
    assert refusals.final(1.0, now=2.0)
    refusals.good()
    refusals.add(gone, now=200.0)
    assert not refusals.final(1.0, now=300.0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (VambeRefusedError("no", status=404), is_refusal),
        (VambeAuthError("no", status=403), is_refusal),
        (VambeAuthError("no", status=401), refuses_the_key),
        (VambeConfigError("wrong"), is_mistake),
        (VambeConfigError("a redirect", status=302), None),
        (VambeReadError("later", status=503), None),
        (VambeRateLimitError("later", status=429), is_asked_to_wait),
        (RuntimeError("what a secrets backend raises"), None),
    ],
)
def test_what_a_failure_means(error: BaseException, kind: object) -> None:
    kinds = (is_refusal, refuses_the_key, is_mistake, is_asked_to_wait)
    assert [one for one in kinds if one(error)] == ([kind] if kind else [])
