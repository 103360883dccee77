"""Times subjects against each other: in one process, interleaved, as ratios within a round.

A round runs one short block of calls of every subject back to back, in an order that is rotated
and turned round from one round to the next. Whatever disturbs the machine for longer than a round
disturbs all subjects alike, and the median over many rounds drops the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from timeit import Timer
from typing import Any, NamedTuple

WARM_UP = 3  # Rounds that do not count: caches, the specializing interpreter, PyPy's compiler.

# The time of this thread leaves out what other programs took. Windows counts it in 15.6 ms.
_FINE = time.get_clock_info("thread_time").resolution <= 1e-6
CLOCK = time.thread_time if _FINE else time.perf_counter


class Quartiles(NamedTuple):
    low: float
    median: float
    high: float


@dataclass
class Subject:
    """A statement to be timed. timeit keeps the garbage collector out of it."""

    statement: str
    names: dict[str, Any]
    #: How many operations the statement is.
    operations: int = 1
    #: Run after each statement, untimed, where it cannot simply be repeated.
    undo: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        # As local names: what a program that cares would do, and the same for all subjects.
        setup = "; ".join(f"{name} = _{name}" for name in self.names) or "pass"
        bound = {f"_{name}": value for name, value in self.names.items()}
        self._timer = Timer(self.statement, setup, CLOCK, bound)

    def block(self, calls: int) -> float:
        """Nanoseconds per operation."""
        if self.undo is None:
            spent = self._timer.timeit(calls)
        else:
            spent = 0.0
            for _ in range(calls):
                spent += self._timer.timeit(1)
                self.undo()
        return spent / calls / self.operations * 1e9


class Timings:
    """What one case took: per subject, nanoseconds per operation in each round."""

    def __init__(self, rounds: dict[str, list[float]]) -> None:
        self.rounds = rounds

    def nanoseconds(self, name: str) -> float:
        return median(self.rounds[name])

    def ratio(self, name: str, to: str) -> Quartiles:
        """Quartiles over the rounds of ``name``'s time divided by ``to``'s."""
        pairs = zip(self.rounds[name], self.rounds[to])
        return Quartiles(*quantiles([mine / other for mine, other in pairs], method="inclusive"))


def measure(subjects: dict[str, Subject], rounds: int, seconds: float) -> Timings:
    """Time ``subjects`` in ``rounds`` (>= 2) rounds, in blocks of about ``seconds`` each."""
    calls = max(_calls(subject, seconds) for subject in subjects.values())
    order = list(subjects)
    taken: dict[str, list[float]] = {name: [] for name in order}
    for number in range(-WARM_UP, rounds):
        order.append(order.pop(0))
        for name in order if number % 2 else order[::-1]:
            spent = subjects[name].block(calls)
            if number >= 0:
                taken[name].append(spent)
    return Timings(taken)


def _calls(subject: Subject, seconds: float) -> int:
    """How many calls of the statement take ``seconds``, to the next power of two."""
    calls = 1
    while subject.block(calls) * subject.operations * calls * 1e-9 < seconds / 2:
        calls *= 2
    return calls
