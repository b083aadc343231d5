"""What Airflow reads about this provider when it starts."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the description of this provider."""
    return {
        "package-name": "airflow-provider-vambe",
        "name": "Vambe",
        "description": "WhatsApp tickets of Vambe, each opened exactly once.",
    }
