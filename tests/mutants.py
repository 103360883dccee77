"""Backends with one fault each, and the rule that names it.

Where the core would heal or hide what a backend does wrong, the fault is in the core. As a pytest
plugin (``-p mutants``) this module applies the one that NETCORE_MUTANT names.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any

from completion_mutants import COMPLETION_MUTANTS
from inner_mutants import INNER_MUTANTS

from netcore import EVENT_HANGUP, EVENT_READ, EVENT_WRITE, ONESHOT, Selector, _fork, _waker
from netcore._poll_masks import event_bits
from netcore.backends.epoll import MASKS, Epoll
from netcore.backends.poll import Poll
from netcore.contract import CLOSED, EDGE, FAILED

Ready = list[tuple[int, int]]


class TwoEntriesPerDescriptor(Epoll):
    """Readable and writable come as two entries, as the stdlib's kqueue does."""

    def wait(self, timeout: float | None, limit: int | None = None) -> Ready:
        ready = super().wait(timeout, limit)
        return [(fd, bit) for fd, mask in ready for bit in (mask & 1, mask & ~1) if bit]


class ForgetsToArmAgain(Epoll):
    """``modify`` with the same events is taken for nothing to do."""

    def watch(self, fd: int, old: int, new: int) -> None:
        if old != new:
            super().watch(fd, old, new)


class OneShotAgainAndAgain(Epoll):
    """Declares ONESHOT and does not do it."""

    def watch(self, fd: int, old: int, new: int) -> None:
        super().watch(fd, old & ~ONESHOT, new & ~ONESHOT)


class RoundsDown(Epoll):
    """Half a second is no second: it returns at once, and is asked again, and again."""

    def wait(self, timeout: float | None, limit: int | None = None) -> Ready:
        return super().wait(None if timeout is None else int(timeout), limit)


class LeaksOnClose(Epoll):
    """The kernel object stays open for as long as somebody holds it, and somebody does."""

    held: list[Any] = []  # noqa: RUF012

    def close(self) -> None:
        self.held.append(self._epoll)


class NotLive(Poll):
    """Says that changes reach a wait that is running."""

    live = True


class SpinsWhenParked(Epoll):
    """A parked descriptor stays with the kernel, which cannot keep a hang-up to itself."""

    parked: set[int] = set()  # noqa: RUF012

    def watch(self, fd: int, old: int, new: int) -> None:
        super().watch(fd, old, new)
        (self.parked.discard if new or old else self.parked.add)(fd)

    def wait(self, timeout: float | None, limit: int | None = None) -> Ready:
        poll = select.poll()
        for fd in self.parked:
            poll.register(fd)
        return super().wait(0 if poll.poll(0) else timeout, limit)


class ReportsWhatIsGone(Epoll):
    """Once reported, always reported."""

    seen: set[int] = set()  # noqa: RUF012

    def wait(self, timeout: float | None, limit: int | None = None) -> Ready:
        ready = super().wait(0 if self.seen else timeout, limit)
        self.seen.update(fd for fd, _ in ready)
        return list({**dict.fromkeys(self.seen, 1), **dict(ready)}.items())


class IgnoresClosed(Poll):
    """POLLNVAL is no event, so there is nothing to report, all the time."""

    @staticmethod
    def events_of(mask: int) -> int:
        return event_bits(mask) & ~CLOSED


class NeverHangsUp(Epoll):
    """Declares EVENT_HANGUP and does not ask for it."""

    @staticmethod
    def events_of(mask: int) -> int:
        return event_bits(mask) & ~EVENT_HANGUP

    def watch(self, fd: int, old: int, new: int) -> None:
        kept = new & ~EVENT_HANGUP
        super().watch(fd, old, kept or (new and EVENT_READ))


class ReadOnlyMeansIn(Epoll):
    """POLLHUP without POLLIN, as a pipe reports its end, is not readable."""

    @staticmethod
    def events_of(mask: int) -> int:
        return (mask & 1 and EVENT_READ) | (mask & 4 and EVENT_WRITE)


class EdgeIsLevel(Epoll):
    """Declares EDGE and does not do it."""

    def watch(self, fd: int, old: int, new: int) -> None:
        super().watch(fd, old & ~EDGE, new & ~EDGE)


class LowestFirst(Poll):
    """With a limit, it is always the same ones."""

    def wait(self, timeout: float | None, limit: int | None = None) -> Ready:
        return sorted(super().wait(timeout))[:limit]


class KnowsNoLimit(Poll):
    """More than was asked for."""

    def wait(self, timeout: float | None, limit: int | None = None) -> Ready:
        return super().wait(timeout)


class ThirtyTwoAtMost(Epoll):
    """Asks the kernel for 32 and leaves it at that."""

    def wait(self, timeout: float | None, limit: int | None = None) -> Ready:
        return super().wait(timeout, min(limit or 32, 32))


class TakesFiles(Poll):
    """What is always ready is watched."""

    def watch(self, fd: int, old: int, new: int) -> None:
        os.fstat(fd)
        if new:
            self._poll.register(fd, MASKS[new] & 0xFFFF)


class TakesClosed(Poll):
    """poll(2) does not mind what it is given until it waits."""

    def watch(self, fd: int, old: int, new: int) -> None:
        if new:
            self._poll.register(fd, MASKS[new] & 0xFFFF)
        elif old:
            super().watch(fd, old, new)


class Inherited(Epoll):
    """Every program that is started gets it."""

    def __init__(self) -> None:
        super().__init__()
        os.set_inheritable(self._epoll.fileno(), True)


class DeafToExceptions(Epoll):
    """What a signal handler raises gets lost, the first time (the second is pytest's timeout)."""

    deaf = True

    def wait(self, timeout: float | None, limit: int | None = None) -> Ready:
        try:
            return super().wait(timeout, limit)
        except BaseException:
            if not DeafToExceptions.deaf:
                raise
            DeafToExceptions.deaf = False
            return []


class PaysForTheIdle(Poll):
    """Says that idle descriptors cost nothing."""

    scalable = True


class HidesErrors(Epoll):
    """An error that nobody asked about is nobody's, though the kernel goes on about it."""

    @staticmethod
    def events_of(mask: int) -> int:
        return event_bits(mask) & ~FAILED


def rounding_up_to_a_second() -> None:
    """Waits are late."""
    original = Selector.select

    def late(self: Selector, timeout: float | None = None, max_events: int | None = None) -> Any:
        return original(self, timeout and int(timeout) + 1, max_events)

    Selector.select = late  # type: ignore[method-assign]


def ending_early() -> None:
    """Waits are cut to a tenth."""
    original = Selector.select

    def early(self: Selector, timeout: float | None = None, max_events: int | None = None) -> Any:
        return original(self, timeout and timeout / 10, max_events)

    Selector.select = early  # type: ignore[method-assign]


def sharing_with_children() -> None:
    """A forked child goes on with the parent's epoll."""
    _fork.remember = lambda selector: None


def losing_wakeups() -> None:
    """The channel swallows what it is told."""
    _waker.DescriptorWaker.set = lambda self: None  # type: ignore[method-assign]


def never_drained() -> None:
    """A wake-up stays."""
    _waker.DescriptorWaker.drain = lambda self: None  # type: ignore[method-assign]


def staying_open() -> None:
    """close() closes, but nobody is told."""
    Selector._check_open = lambda self: None  # type: ignore[method-assign]


#: Every mutant and the test that is to fail: the rule that names the fault.
MUTANTS: dict[type[Epoll] | type[Poll] | Callable[[], None], str] = {
    TwoEntriesPerDescriptor: "test_readable_and_writable_is_one_entry",
    ForgetsToArmAgain: "test_modify_arms_one_shot_again",
    OneShotAgainAndAgain: "test_one_shot_is_one_event",
    RoundsDown: "test_an_empty_selector_sleeps",
    LeaksOnClose: "test_close_gives_every_descriptor_back",
    NotLive: "test_a_registration_reaches_a_wait_that_is_running",
    SpinsWhenParked: "test_a_parked_descriptor_delivers_nothing_and_does_not_spin",
    ReportsWhatIsGone: "test_what_was_unregistered_is_never_reported",
    IgnoresClosed: "test_a_closed_descriptor_is_silent_and_the_others_are_not",
    NeverHangsUp: "test_the_end_of_a_stream_is_a_hangup",
    ReadOnlyMeansIn: "test_the_end_of_a_stream_is_readable_again_and_again",
    EdgeIsLevel: "test_edge_reports_what_holds_already_once",
    LowestFirst: "test_an_answer_that_is_limited_leaves_nobody_out",
    KnowsNoLimit: "test_an_answer_that_is_limited_leaves_nobody_out",
    ThirtyTwoAtMost: "test_any_number_of_sockets_can_be_ready_at_once",
    TakesFiles: "test_a_file_is_refused",
    TakesClosed: "test_a_closed_descriptor_is_refused",
    Inherited: "test_descriptors_are_not_inherited",
    DeafToExceptions: "test_an_exception_of_a_signal_handler_ends_the_wait",
    PaysForTheIdle: "test_idle_sockets_cost_nothing",
    HidesErrors: "test_a_reset_connection_does_not_spin_for_those_who_wait_for_urgent_data",
    rounding_up_to_a_second: "test_a_wait_is_never_early_and_hardly_late",
    ending_early: "test_a_wait_is_never_early_and_hardly_late",
    sharing_with_children: "test_nothing_that_a_child_does_reaches_the_parent",
    losing_wakeups: "test_wakeup_ends_the_wait_of_another_thread",
    never_drained: "test_a_wakeup_is_kept_for_the_next_wait",
    staying_open: "test_a_closed_selector_raises_runtime_error",
    **COMPLETION_MUTANTS,
    **INNER_MUTANTS,
}

_chosen = os.environ.get("NETCORE_MUTANT")
for _mutant in MUTANTS:
    if _mutant.__name__ == _chosen and not isinstance(_mutant, type):
        _mutant()
