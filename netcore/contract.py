"""What a backend promises to the core, and the event bits both speak in.

A backend is the thin layer over one kernel interface. It keeps no table of who is interested in
what: the core owns that and says "from this interest to that one". It runs no user code and
answers with plain data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Optional

if TYPE_CHECKING:
    from netcore.operations import Operation

EVENT_READ: Final = 1
EVENT_WRITE: Final = 2
#: Out-of-band data has arrived.
EVENT_PRIORITY: Final = 4
#: The peer has closed its side, or the connection is gone. Can be watched alone.
EVENT_HANGUP: Final = 8
#: Modifier: one delivery, then silence until the next ``modify``.
ONESHOT: Final = 16
#: Modifier: deliver when the state changes, not as long as it lasts.
EDGE: Final = 32

#: The bits that can be delivered.
CONDITIONS: Final = EVENT_READ | EVENT_WRITE | EVENT_PRIORITY | EVENT_HANGUP
#: Every bit that ``register`` may be given.
ALL_EVENTS: Final = CONDITIONS | ONESHOT | EDGE

#: A backend's answer for a descriptor that is no longer open: the core is silent about it then.
CLOSED: Final = 1 << 30
#: Part of a backend's answer: an error or a hang-up that it reports whether asked for or not.
FAILED: Final = 1 << 29
#: The descriptor in the answer of a backend that wakes natively, when it was woken.
WOKEN: Final = -1

EVENT_NAMES: Final = {
    EVENT_READ: "EVENT_READ",
    EVENT_WRITE: "EVENT_WRITE",
    EVENT_PRIORITY: "EVENT_PRIORITY",
    EVENT_HANGUP: "EVENT_HANGUP",
    ONESHOT: "ONESHOT",
    EDGE: "EDGE",
}


def event_names(events: int) -> str:
    """``"EVENT_READ|ONESHOT"``: the bits of ``events`` by name, ``"0"`` for none."""
    return "|".join(name for bit, name in EVENT_NAMES.items() if events & bit) or "0"


class Backend(ABC):
    """What every backend says of itself. All of it is fixed when the class is made.

    It is made without arguments. If the kernel object has a descriptor that another selector can
    watch, the backend has a method ``fileno()``.
    """

    #: The name it is chosen by.
    name: ClassVar[str]
    #: The event bits it can watch. ``ONESHOT`` is listed only if the kernel does it by itself;
    #: the core supplies it for everybody else.
    supports: ClassVar[int] = EVENT_READ | EVENT_WRITE
    #: What it needs, for the user to whom it is not available.
    needs: ClassVar[str] = ""
    #: How late a wait may end because the kernel counts in such steps, in seconds.
    timeout_granularity: ClassVar[float] = 0.001
    #: How many descriptors the kernel interface can hold, or None.
    max_descriptors: ClassVar[int | None] = None
    #: Only sockets can be watched (Windows).
    sockets_only: ClassVar[bool] = False
    #: The cost of a wait does not grow with the number of idle descriptors.
    scalable: ClassVar[bool] = False
    #: Descriptors are small numbers, lowest first (POSIX), so that a list may be indexed by them.
    dense: ClassVar[bool] = False
    #: Of a send that was cancelled, ``bytes_sent`` is what the peer gets, and no less than that.
    exact_cancelled_send: ClassVar[bool] = True
    #: The kinds of operations that it carries out itself, besides Poll. The kernel acts on them
    #: when it likes: what one has taken is not told as readiness.
    operations: ClassVar[frozenset[type[Operation]]] = frozenset()

    @classmethod
    @abstractmethod
    def available(cls) -> bool:
        """Whether it can run here. Opens nothing."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back to the system. Idempotent. Leaves the watched files open."""

    def abandon(self) -> None:
        """Let go in a forked child, without touching what is still the parent's."""
        self.close()


class Raw(NamedTuple):
    """Calls of a kernel interface that keep the promises of ``watch`` and ``wait`` as they are."""

    mask: Callable[[int], int]  # Event bits -> what the others take.
    add: Callable[[int, int], object]  # fd, mask
    modify: Callable[[int, int], object]  # fd, mask
    remove: Callable[[int], object]  # fd
    wait: Callable[[Optional[float], int], list[tuple[int, int]]]  # noqa: UP045  # timeout, limit


class ReadinessBackend(Backend):
    """Tells which descriptors are ready.

    ``watch`` is called by one thread at a time, ``wait`` by one thread at a time, and a ``watch``
    may come while another thread is in ``wait``.
    """

    #: A ``watch`` from another thread reaches a ``wait`` that is already running. Otherwise the
    #: core wakes the waiting thread, which enters again.
    live: ClassVar[bool] = False
    #: The kernel forgets a descriptor when its file is closed, and never takes a new file with the
    #: same number for the old one. Otherwise the core compares ``fileobj.fileno()`` at delivery.
    tracks_files: ClassVar[bool] = False
    #: An entry can outlive its descriptor while a duplicate lives, and nobody can remove it then
    #: (epoll(7), Q6): the core looks twice at what was closed before it was unregistered.
    leaves_ghosts: ClassVar[bool] = False
    #: It has a ``wake`` of its own. Otherwise the core watches a descriptor for that.
    wakes: ClassVar[bool] = False
    #: How many entries to ask for at first, where asking costs; when an answer is so long, the core
    #: asks for more. None: a ``wait`` without a limit hands out all that there is.
    batch: ClassVar[int | None] = None
    #: The mask that ``wait`` answers for "readable and nothing else", and for writable.
    read_mask: ClassVar[int] = EVENT_READ
    write_mask: ClassVar[int] = EVENT_WRITE

    @abstractmethod
    def watch(self, fd: int, old: int, new: int) -> None:
        """Change the interest in ``fd`` from the event bits ``old`` to ``new``; 0 is none.

        ``new`` has no bits but those in ``supports``; ``old`` may have ONESHOT nevertheless.

        With a modifier in ``new`` it is armed afresh, also when ``old == new``. From 0 to 0 asks
        only whether ``fd`` could be watched.

        Raises OSError as the kernel does: EBADF for a closed descriptor, PermissionError for one
        that cannot be watched; ValueError for a number the interface cannot hold. Then nothing has
        changed. A removal may raise OSError for what is gone already: nobody minds.
        """

    @abstractmethod
    def wait(self, timeout: float | None, limit: int | None = None) -> list[tuple[int, int]]:
        """Wait for at most ``timeout`` seconds and return ``(fd, mask)``, each fd at most once.

        ``timeout`` is None or a number between 0 and ``LONGEST``. To come back empty-handed too
        early is allowed, the core enters again; too late is not, by more than
        ``timeout_granularity``. With a ``limit`` >= 1, no more than so many entries; those left out
        must get their turn in later calls.

        A signal whose handler returns does not end the wait (PEP 475); one that raises does.
        """

    def raw(self) -> Raw | None:
        """What the core may call instead of ``watch`` and ``wait``, or None.

        Asked once. It spares a Python call on the way to the kernel, which is 5 to 10 % of each.
        """
        return None

    def wake(self) -> None:
        """End the ``wait`` that is running, or else the next one, which answers ``(WOKEN, 0)``.

        Called only if ``wakes``, by any thread and in signal handlers; several may be one.
        """
        raise NotImplementedError

    @staticmethod
    def events_of(mask: int) -> int:
        """The event bits that a mask of ``wait`` stands for; pure, asked once per distinct mask.

        An error or a hang-up of the whole connection counts as everything but priority, and as
        FAILED; CLOSED says that the descriptor is not open any more.
        """
        return mask


class CompletionBackend(Backend):
    """Carries out operations and tells which are done.

    ``supports`` are the events that a Poll can be asked for, of which it is given the ``fd``. What
    else it carries out it lists in ``operations``; the rest is done by polls and non-blocking
    calls. ``submit``, ``cancel`` and ``check``
    are called by one thread at a time, ``wait`` by one thread at a time, and the former may come
    while another thread is in ``wait``: what they start or end reaches that ``wait``. An exception
    of a signal handler may come out of any of them.
    """

    def takes(self, operation: Operation) -> bool:
        """Whether it carries out ``operation``, which is no Poll, itself.

        False for what can only be done by a poll and a non-blocking call, as on a socket that is
        associated with a port of somebody else. It is asked before each ``submit``, and raises
        OSError for what nobody could carry out.
        """
        return type(operation) in self.operations

    @abstractmethod
    def check(self, fd: int) -> None:
        """Raise the OSError of ``submit`` if ``fd`` cannot be polled; start nothing."""

    @abstractmethod
    def submit(self, operation: Operation) -> None:
        """Start ``operation``, and set ``in_flight``. Never blocks, and never ends it: only
        ``wait`` hands it out, with ``in_flight`` cleared and ``value`` or ``error`` set (of a Poll:
        ``found``).

        Of a descriptor, one Poll at most is in flight at a time: the caller sees to that.

        Raises OSError for what cannot even be started, as for a descriptor that is closed (EBADF)
        or of the wrong kind; then it is not in flight. Whatever happens later is told in the
        operation.
        """

    @abstractmethod
    def cancel(self, operation: Operation) -> None:
        """Ask for the end of ``operation``, which still comes out of ``wait``, and soon.

        It comes with its result if that was faster, else with OperationCancelled as its ``error``
        (a Poll: with nothing found). Does nothing if it is not in flight.
        """

    @abstractmethod
    def wait(self, timeout: float | None, limit: int | None = None) -> list[Operation]:
        """Wait for at most ``timeout`` seconds until something is done; each comes out once.

        All that is done already comes at once, oldest first, but no more than ``limit``. As with
        ``ReadinessBackend.wait``, to come back too early is allowed and too late is not.

        When it raises, what it had in hand is not ``in_flight`` but may never be handed out.
        """

    @abstractmethod
    def wake(self) -> None:
        """End the ``wait`` that is running, or else the next one. Any thread, any signal handler.

        Does nothing after ``close``.
        """

    @abstractmethod
    def close(self) -> None:
        """Cancel what is in flight, and give everything back to the system. Idempotent.

        Blocks for a bounded time. Memory that the system may still write to is never freed.
        """
