"""The rows of a warehouse, as many as are wanted, and the request that each of them becomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

STAGE = "7f1f9a52-5a0f-4c8e-9c39-2f4b3e1f0a11"
PHONE_ID = "qr-main"
PATH = f"/api/public/ticket/open/web-whatsapp/{PHONE_ID}"
API_KEY = "benchmark-key"

# One customer in two is Chilean; the other numbers take the long way through the phone library.
_NUMBERS = ("+569{:08d}", "+5255{:08d}", "+569{:08d}", "+5731{:08d}")

TEMPLATE = {
    "to_phone_number": "{phone}",
    "stage_id": STAGE,
    "contact_name": "{name}",
    "message": "Hola {name}, your order {order_id} of {total:,.0f} is late",
    "ticket_metadata": {"order_id": "{order_id}", "total": "{total:.2f}"},
}
"""What the operator's ``ticket`` argument is here."""


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield so many rows, each with a key and a person of its own."""
    for number in range(count):
        phone = _NUMBERS[number % 4].format(20_000_000 + number)
        yield {"order_id": number, "phone": phone, "name": f"Customer {number}", "total": number * 1.5}


def body(row: dict[str, Any]) -> dict[str, Any]:
    """Return the request that a user would write by hand for a row."""
    return {
        "to_phone_number": row["phone"],
        "stage_id": STAGE,
        "contact_name": row["name"],
        "contact_metadata": {},
        "ticket_metadata": {"order_id": str(row["order_id"]), "total": f"{row['total']:.2f}"},
        "integration_data": {},
        "message": {
            "content": f"Hola {row['name']}, your order {row['order_id']} of {row['total']:,.0f} is late",
            "ai_generated": False,
        },
    }
