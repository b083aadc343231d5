"""Apache Airflow provider for Vambe: open WhatsApp tickets from pipelines, each exactly once."""

from __future__ import annotations

__version__ = "0.1.0"
