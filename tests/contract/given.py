"""What the cases have in common: one ticket with everything personal in it, and the settings of a client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vambe_provider.api import ConnectionSettings, parse_ticket

if TYPE_CHECKING:
    from tests.contract.wire import WireServer

KEY = "key-5f2a9c"
PHONE = "+56912345678"
EMAIL = "maria.rodriguez@example.com"
TEXT = "Hola Maria! Hemos recibido tu consulta sobre facturación."
TICKET = parse_ticket(
    {
        "to_phone_number": PHONE,
        "stage_id": "550e8400-e29b-41d4-a716-446655440000",
        "contact_name": "Maria Rodriguez",
        "email": EMAIL,
        "ticket_metadata": {"order_id": "ORD-12345"},
        "message": TEXT,
    }
)
OPENED = json.dumps({"aiContactId": "df980fc8-b6db-4820-bf22-2969482d106d", "status": "ok"})


def settings_for(wire: WireServer, **changes: Any) -> ConnectionSettings:
    values = {"api_key": KEY, "base_url": wire.url, "phone_id": "qr-main", "timeout": 30}
    return ConnectionSettings(**{**values, **changes})
