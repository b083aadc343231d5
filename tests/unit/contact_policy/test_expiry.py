from __future__ import annotations

from datetime import date, timedelta

import pytest

from tests.unit.contact_policy.asked import utc
from vambe_provider.contact_policy import ContactPolicy
from vambe_provider.contact_policy.expiry import expires_at
from vambe_provider.exceptions import VambeValidationError

SEEN = utc("2026-11-25T15:00")
CHILEAN = ("America/Santiago", "America/Punta_Arenas")


def test_a_length_of_time_counts_from_when_the_row_was_first_seen() -> None:
    assert expires_at(ContactPolicy(expires="2 days"), first_seen=SEEN) == SEEN + timedelta(days=2)
    assert expires_at(ContactPolicy(expires=timedelta(hours=1)), first_seen=SEEN) == SEEN + timedelta(hours=1)
    assert expires_at(ContactPolicy(), first_seen=SEEN, value="2026-12-01") is None


@pytest.mark.parametrize(
    ("value", "ends"),
    [
        (None, None),
        (float("nan"), None),
        (utc("2026-12-01T18:00"), "2026-12-01T18:00"),
        (utc("2026-12-01T18:00").replace(tzinfo=None), "2026-12-01T18:00"),
        ("2026-12-01T18:00:00-03:00", "2026-12-01T21:00"),
        (" 2026-12-01 18:00 ", "2026-12-01T18:00"),
        (date(2026, 12, 1), "2026-12-02T03:00"),  # the whole day in Chile
        ("2026-12-01", "2026-12-02T03:00"),
        (date(2026, 7, 1), "2026-07-02T03:00"),  # in winter it ends first in Punta Arenas
    ],
)
def test_a_column_holds_a_time_or_a_date(value: object, ends: str | None) -> None:
    found = expires_at(ContactPolicy(expires="due"), first_seen=SEEN, value=value, zones=CHILEAN)
    assert found == (None if ends is None else utc(ends))


@pytest.mark.parametrize("value", ["soon", "", 5, "12:00", "P1D"])
def test_a_column_with_something_else_is_named_and_not_shown(value: object) -> None:
    with pytest.raises(VambeValidationError, match="due: is not a time or a date") as caught:
        expires_at(ContactPolicy(expires="due"), first_seen=SEEN, value=value)
    assert "soon" not in str(caught.value)
