"""The tests of the sensor open tickets in the same way as those of the triggers."""

from __future__ import annotations

from tests.unit.triggers.conftest import open_tickets

__all__ = ["open_tickets"]
