"""The customers of the demo's shop: five countries, four spellings of a number, and what goes wrong in real tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Country:
    """How a country writes its mobile numbers, names and money.

    :param share: how many of a hundred customers live there.
    :param prefixes: how a mobile number begins, behind the calling code.
    :param groups: how many of its digits stand together.
    :param national: the pattern of a number without calling code, made of the same groups.
    :param price: what an item costs, more or less.
    """

    code: str
    share: int
    calling_code: str
    prefixes: tuple[str, ...]
    groups: tuple[int, ...]
    national: str
    currency: str
    price: int
    names: tuple[str, ...]


COUNTRIES = (
    Country(
        "CL", 38, "56", ("95", "97", "98"), (1, 4, 4), "{} {} {}", "CLP", 24_990,
        ("María José Núñez", "Benjamín Muñoz", "Antonia Pérez", "Matías Ñancupil", "李伟", "Sofía Araya 🌸"),
    ),
    Country(
        "MX", 22, "52", ("55", "33", "81"), (2, 4, 4), "{} {} {}", "MXN", 649,
        ("Guadalupe Hernández", "José Ángel Ramírez", "Ximena Ávila", "Iñaki Güemes", "Carmen O'Farrill"),
    ),
    Country(
        "CO", 18, "57", ("300", "310", "315", "320"), (3, 3, 4), "{} {}-{}", "COP", 129_900,
        ("Valentina Rodríguez", "Andrés Quiñones", "Luz Marina Peña", "Juan Sebastián Gómez"),
    ),
    Country(
        "BR", 14, "55", ("119", "219", "319"), (2, 5, 4), "({}) {}-{}", "BRL", 189,
        ("João Conceição", "Ana Luíza Gonçalves", "Antônio Araújo", "Thaís Magalhães"),
    ),
    Country(
        "AR", 8, "54", ("9112", "9113", "9115", "9116"), (1, 2, 4, 4), "{1} {2}-{3}", "ARS", 45_000,
        ("Agustín Peñaloza", "Lucía Fernández", "Martín Álvarez", "Zoë Müller"),
    ),
)  # fmt: skip

FAULTS = {
    "no number": 12,
    "number became a float": 12,
    "landline": 8,
    "digits missing": 10,
    "not a number": 7,
    "broken e-mail": 12,
    "no name": 8,
}
"""What is wrong with a customer, and how many in a thousand have it. Each of them makes a ticket impossible."""

# A template must never be rendered from data: these two have to arrive as they are.
_ODD_NAMES = ("{{ dag.dag_id }}", "{order_id}")


@dataclass(slots=True)
class Customer:
    """A customer, and what is wrong with the row.

    :param digits: the true mobile number, without the calling code.
    :param fault: one of ``FAULTS``, or None.
    """

    customer_id: int
    country: Country
    name: str | None
    phone: str | None
    email: str | None
    created_on: date
    digits: str
    fault: str | None = None

    def row(self, lifetime_value: float) -> Row:
        """Return what the table holds of the customer."""
        return {
            "customer_id": self.customer_id,
            "name": self.name,
            "phone": self.phone,
            "email": self.email,
            "country": self.country.code,
            "created_on": self.created_on.isoformat(),
            "lifetime_value": lifetime_value,
        }


def customers(rng: random.Random, today: date, count: int) -> Iterator[Customer]:
    """Yield customers; one in 25 is somebody who registered a second time, with the number spelled in another way."""
    known: list[Customer] = []
    for number in range(1, count + 1):
        created = today - timedelta(days=rng.randint(30, 1500))
        if known and rng.random() < 0.04:
            customer = _registered_again(rng, rng.choice(known), number, created)
        else:
            customer = _newcomer(rng, number, created)
            _spoil(rng, customer)
        if customer.fault is None:
            known.append(customer)
        yield customer


def _newcomer(rng: random.Random, number: int, created: date) -> Customer:
    country = rng.choices(COUNTRIES, [c.share for c in COUNTRIES])[0]
    prefix = rng.choice(country.prefixes)
    digits = prefix + "".join(rng.choice("23456789") for _ in range(sum(country.groups) - len(prefix)))
    name = rng.choice(_ODD_NAMES if number % 500 == 0 else country.names)
    email = None if rng.random() < 0.15 else f"customer{number}@example.com"
    return Customer(number, country, name, _spelled(rng, country, digits), email, created, digits)


def _registered_again(rng: random.Random, first: Customer, number: int, created: date) -> Customer:
    phone = _spelled(rng, first.country, first.digits)
    return Customer(number, first.country, (first.name or "").upper(), phone, first.email, created, first.digits)


def _spelled(rng: random.Random, country: Country, digits: str) -> str:
    """Return a number in one of the spellings that people and systems use."""
    groups = _groups(country, digits)
    spellings = [
        f"+{country.calling_code} {' '.join(groups)}",
        country.calling_code + digits,
        country.national.format(*groups),
        f"+{country.calling_code} ({groups[0]}) {'-'.join(groups[1:])}",
    ]
    if country.code == "MX":
        # WhatsApp itself wrote Mexican numbers with this 1 for years.
        spellings.append(f"+52 1 {' '.join(groups)}")
    phone = rng.choice(spellings)
    return f" {phone}\N{NO-BREAK SPACE}" if rng.random() < 0.02 else phone


def _groups(country: Country, digits: str) -> list[str]:
    parts, start = [], 0
    for size in country.groups:
        parts.append(digits[start : start + size])
        start += size
    return parts


def _spoil(rng: random.Random, customer: Customer) -> None:
    fault = rng.choices([*FAULTS, None], [*FAULTS.values(), 1000 - sum(FAULTS.values())])[0]
    customer.fault = fault
    match fault:
        case "no name":
            customer.name = None
        case "broken e-mail":
            customer.email = rng.choice(["maria@", "sin correo", "jose.gmail.com", "ana@@example.com", "luis@example"])
        case "no number":
            customer.phone = None
        case "number became a float":
            customer.phone = f"{customer.country.calling_code}{customer.digits}.0"
        case "landline":
            customer.phone = f"+56 2 2{''.join(rng.choice('3456789') for _ in range(7))}"
        case "digits missing":
            customer.phone = f"+{customer.country.calling_code} {customer.digits[:-2]}"
        case "not a number":
            customer.phone = rng.choice(["s/n", "no tiene", "-", "pendiente", "0", "123"])
