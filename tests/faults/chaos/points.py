"""A point of the sweep, and what was found there."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.faults.chaos.calls import ONE_IN, Fault


@dataclass(frozen=True, kw_only=True)
class Point:
    """One fault in one process of one scenario."""

    scenario: str
    actor: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.scenario} | {self.actor} | {self.fault}"


@dataclass(kw_only=True)
class Verdict:
    """What was found after a point. ``lost``, ``wrong`` and ``stuck`` say what, and should be empty."""

    struck: bool
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    other: str = ""

    @property
    def good(self) -> bool:
        return not (self.lost or self.wrong or self.stuck)


def who_dies(actor: str, fault: Fault) -> str:
    """Every second time the worker dies with its child, and nobody frees what that held."""
    is_second = fault.number // ONE_IN.get(fault.call, 1) % 2 == 0
    return "machine" if actor == "worker" and fault.is_kill and is_second else actor
