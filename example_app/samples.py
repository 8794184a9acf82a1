"""Made-up customers and jobs, so that there is something to see."""

from __future__ import annotations

import random
from datetime import date, timedelta

from .models import Customer, Job, JobStatus

FIRST_NAMES = (
    "Ada Amir Anna Ben Carla Chidi Dana Diego Elif Emil Farah Finn Grace Hugo Ines Ivan Jana "
    "Jonas Keiko Lars Lena Liam Maya Mila Nadia Noah Olga Omar Paula Priya Rosa Samir Sofia Tariq "
    "Theo Uma Vera Wanda Yusuf Zoe"
)
LAST_NAMES = (
    "Abbott Almeida Bauer Becker Bianchi Castillo Cho Cohen Dubois Eriksen Fischer Fontaine "
    "Garcia Haddad Hansen Hoffman Ito Jansen Kaya Keller Kim Kowalski Larsen Lopez Marino Meyer "
    "Moreau Nakamura Novak Okafor Olsen Park Patel Quinn Rossi Sato Silva Tanaka Weber Young"
)
WORK = (
    "Repair the garden fence",
    "Install a heat pump",
    "Paint the stairwell",
    "Yearly boiler service",
    "Replace the kitchen tap",
    "Inspect the roof",
    "Lay oak flooring",
    "Rewire the workshop",
)


def made_up_customers(count: int, seed: int) -> list[Customer]:
    """So many customers; about four in ten are ticked. The same seed makes the same ones.

    :param seed: also the first number in their addresses, which keeps these apart.
    """
    chance = random.Random(seed)  # nosec B311  # made-up people, the same each time
    return [_customer(chance, seed + number) for number in range(1, count + 1)]


def _customer(chance: random.Random, number: int) -> Customer:
    first, last = chance.choice(FIRST_NAMES.split()), chance.choice(LAST_NAMES.split())
    return Customer(
        first_name=first,
        last_name=last,
        email=f"{first}.{last}.{number}@example.com".lower(),
        phone=f"+1 555 01{number % 100:02}" if chance.random() < 0.7 else None,
        marketing_opt_in=chance.random() < 0.4,
    )


def made_up_jobs(customers: list[Customer], today: date) -> list[Job]:
    """A job for every second customer, due in the next weeks."""
    chance = random.Random(len(customers))  # nosec B311  # as above
    return [
        Job(
            title=WORK[number % len(WORK)],
            status=chance.choice(list(JobStatus)),
            due_on=today + timedelta(days=chance.randrange(1, 30)),
            customer=customer,
        )
        for number, customer in enumerate(customers[::2])
    ]
