"""The ledger page inside Airflow 3.1 and newer: what became of tickets, and what a person decides about them.

Nothing here asks Vambe anything. The database of the ledger is read; decisions go through
:mod:`vambe_provider.delivery.ledger.admin`, as those of the command line do.
"""

from __future__ import annotations
