"""How a rule is written down: its number, and what a backend must declare to be held to it."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from netcore.contract import ONESHOT, ReadinessBackend, event_names

WINDOWS = sys.platform == "win32"


@dataclass(frozen=True)
class Gate:
    """The declared capabilities that a rule is about."""

    events: int = 0  # Event bits.
    descriptors: int = 0  # How many descriptors the rule uses at a time.
    pipes: bool = False  # It is about pipes or other descriptors that are no sockets.
    scalable: bool = False  # It is about not paying for idle descriptors.
    attempted: bool = False  # It is about operations that are attempted when they can work.
    platform: str = ""  # "unix" or "windows".

    def reason(self, backend: type[ReadinessBackend]) -> str | None:
        """Why ``backend`` is not held to the rule here, or None."""
        name = backend.name
        missing = self.events & ~(backend.supports | ONESHOT)
        if self.platform and (self.platform == "windows") != WINDOWS:
            return f"a rule for {self.platform}"
        if missing:
            return f"{name} does not declare {event_names(missing)}"
        if backend.max_descriptors is not None and self.descriptors > backend.max_descriptors:
            return f"{name} declares max_descriptors = {backend.max_descriptors}"
        if self.pipes and backend.sockets_only:
            return f"{name} declares sockets_only"
        if self.scalable and not backend.scalable:
            return f"{name} does not declare scalable"
        if self.attempted and backend.operations:
            return f"{name} declares operations, on which the kernel acts when it likes"
        return None

    def describe(self) -> str:
        """What a backend must have to be held to the rule, in words; empty for nothing."""
        parts = [
            event_names(self.events) if self.events else "",
            f"{self.descriptors} descriptors at a time" if self.descriptors else "",
            "watching more than sockets" if self.pipes else "",
            "a cost that does not grow with idle descriptors" if self.scalable else "",
            "no operations carried out by the kernel" if self.attempted else "",
            self.platform and f"on {self.platform.title()}",
        ]
        return ", ".join(part for part in parts if part)


def rule(number: int, **gate: object) -> pytest.MarkDecorator:
    """Mark a test as rule ``number``; the keywords are the fields of Gate."""
    return pytest.mark.rule(number, Gate(**gate))  # type: ignore[arg-type]
