"""What Airflow reads about this provider when it starts."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the description of this provider.

    Airflow 3.3 draws the connection form from ``conn-fields`` and ``ui-field-behaviour``; 2.11 to 3.1 ask the hook.
    """
    return {
        "package-name": "airflow-provider-vambe",
        "name": "Vambe",
        "description": "WhatsApp tickets of Vambe, each opened exactly once.",
        "integrations": [
            {"integration-name": "Vambe", "external-doc-url": "https://docs.vambe.me", "tags": ["service"]},
            {"integration-name": "SQL", "external-doc-url": "https://peps.python.org/pep-0249/", "tags": ["software"]},
        ],
        "hooks": [{"integration-name": "Vambe", "python-modules": ["vambe_provider.hooks.vambe"]}],
        "operators": [
            {
                "integration-name": "Vambe",
                "python-modules": ["vambe_provider.operators.vambe", "vambe_provider.operators.lifecycle"],
            }
        ],
        "sensors": [{"integration-name": "Vambe", "python-modules": ["vambe_provider.sensors.vambe"]}],
        "triggers": [{"integration-name": "Vambe", "python-modules": ["vambe_provider.triggers.vambe"]}],
        "transfers": [
            {
                "source-integration-name": "SQL",
                "target-integration-name": "Vambe",
                "python-module": "vambe_provider.transfers.sql_to_vambe",
            }
        ],
        "task-decorators": [
            {
                "name": "vambe_open_ticket",
                "class-name": "vambe_provider.decorators.vambe.vambe_open_ticket_task",
            }
        ],
        "notifications": ["vambe_provider.notifications.vambe.VambeNotifier"],
        "extra-links": ["vambe_provider.links.vambe.VambeConversationLink"],
        "connection-types": [
            {
                "connection-type": "vambe",
                "hook-class-name": "vambe_provider.hooks.vambe.VambeHook",
                "hook-name": "Vambe",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONN_FIELDS,
            }
        ],
        "config": {"vambe": _CONFIG},
        # `airflow vambe …`, from Airflow 3.2 on.
        "cli": ["vambe_provider.cli.airflow_commands"],
    }


UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    # The port stays visible: the Test button of Airflow 3.3.1 and 3.3.2 only works for a connection that has one.
    "hidden-fields": ["schema", "login"],
    "relabeling": {"password": "API key", "host": "Base URL"},
    "placeholders": {
        "host": "https://api.vambe.me",
        "password": "from Vambe's settings: Developers, API keys",
        "port": "empty, or 443 when Test says that the port differs",
    },
}

_OPTIONAL_TEXT = {"type": ["string", "null"]}

CONN_FIELDS: dict[str, dict[str, Any]] = {
    "phone_id": {
        "label": "Phone id",
        "description": "The sender that opens tickets when a task names none.",
        "schema": _OPTIONAL_TEXT,
    },
    "channel": {
        "label": "Channel",
        "description": "web-whatsapp for a number connected by QR code, whatsapp for the WhatsApp Business API. "
        "web-whatsapp when empty.",
        "schema": {"type": ["string", "null"], "enum": ["web-whatsapp", "whatsapp"]},
    },
    "account": {
        "label": "Account",
        "description": "A name for the Vambe account, where one base URL serves several. "
        "A ticket that was opened in one account is not open in another. Do not change it later.",
        "schema": _OPTIONAL_TEXT,
    },
    "default_region": {
        "label": "Default region",
        "description": "Region of numbers written without a country code, such as CL. When empty, such numbers are "
        "refused.",
        "schema": _OPTIONAL_TEXT,
    },
    "allowed_countries": {
        "label": "Allowed countries",
        "description": "Countries whose numbers may be written with a country code and no plus sign, as two-letter "
        "codes separated by commas, such as CL, MX, BR. When empty: the Americas, Spain and Portugal.",
        "schema": _OPTIONAL_TEXT,
    },
    "repair": {
        "label": "Repair numbers",
        "description": "safe to mend spellings of a phone number that can mean only one number, none to refuse them. "
        "safe when empty.",
        "schema": {"type": ["string", "null"], "enum": ["none", "safe"]},
    },
    "contact_policy": {
        "label": "Contact policy",
        "description": "Leave this empty: no task can apply a policy yet, and tasks refuse a connection that has one.",
        "schema": _OPTIONAL_TEXT,
    },
    "timeout": {
        "label": "Timeout",
        "description": "Seconds that one request may take; 30 when empty.",
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 600},
    },
    "rate": {
        "label": "Rate",
        "description": "Tickets per period for one sender, as 10/minute, or none for no limit. "
        "When empty: 10/minute on web-whatsapp, no limit on whatsapp.",
        "schema": _OPTIONAL_TEXT,
    },
    "rate_store": {
        "label": "Rate store",
        "description": "Redis that shares the rate of a sender between workers, as redis://host:6379/0. "
        "When empty, each worker keeps the rate for itself.",
        "schema": _OPTIONAL_TEXT,
    },
    "app_url": {
        "label": "App URL",
        "description": "Where links to a conversation lead; https://app.vambeai.com when empty.",
        "schema": _OPTIONAL_TEXT,
    },
}

_CONFIG: dict[str, Any] = {
    "description": "How tickets are delivered. The defaults suit most installations.",
    "options": {
        "lease": {
            "description": "Seconds for which a worker that claimed a ticket keeps others from it, on top of the "
            "timeout of a request. A longer one protects slow workers; after a crash, a shorter one lets the next try "
            "start sooner.",
            "version_added": "0.1.0",
            "type": "float",
            "example": "300",
            "default": "120",
        },
        "reconcile_polls": {
            "description": "Seconds to wait before each look at Vambe when it is unclear whether a ticket was opened, "
            "separated by commas.",
            "version_added": "0.1.0",
            "type": "string",
            "example": "2,5,10",
            "default": "1,3,6,10,20",
        },
        "reconcile_hours": {
            "description": "Hours after an attempt for which its absence in Vambe can prove that it created nothing. "
            "Later, contacts may have been merged or deleted, and the ticket stays unknown.",
            "version_added": "0.1.0",
            "type": "float",
            "example": "2",
            "default": "6",
        },
        "person_secret": {
            "description": "Secret of the keyed hashes that stand for persons and personal keys in ledgers and logs. "
            "Without one the hashes are plain, and who can try all numbers of a country finds the number behind one. "
            "It must not change as long as a ledger is used.",
            "version_added": "0.1.0",
            "type": "string",
            "sensitive": True,
            "example": None,
            "default": "",
        },
        "ledger_conn_ids": {
            "description": "Connections of the ledgers that the ledger page of Airflow's interface shows, separated by "
            "commas; the API server reads them. Without one the page says how to name one.",
            "version_added": "0.1.0",
            "type": "string",
            "example": "warehouse",
            "default": "",
        },
        "conn_ids": {
            "description": "Connections of Vambe, separated by commas, whose app_url the ledger page links "
            "conversations to and whose rates it shows; the API server reads them.",
            "version_added": "0.1.0",
            "type": "string",
            "example": "vambe_default,vambe_sales",
            "default": "vambe_default",
        },
        "task_tab": {
            "description": "Whether every Dag run and task has a tab with the tickets of the run. Airflow shows such "
            "a tab on all of them, also on those that open no ticket.",
            "version_added": "0.1.0",
            "type": "boolean",
            "example": "True",
            "default": "False",
        },
        "retry_budget": {
            "description": "Seconds for which a ticket is tried again inside its task while surely nothing was sent.",
            "version_added": "0.1.0",
            "type": "float",
            "example": "600",
            "default": "120",
        },
    },
}
