"""What is measured: each case is the same operation on the same set, by several subjects.

The subjects: ``floor``, the raw call of the ``select`` module; ``again``, the first subject a
second time, whose ratio to the first is the noise; ``stdlib``; ``netcore``.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from echo import echo_subject
from floors import PEERS, Floor
from measure import Subject
from sets import opened

import netcore

READ, BOTH = selectors.EVENT_READ, selectors.EVENT_READ | selectors.EVENT_WRITE

SHAPES = [(1, 1), (1, 1000), (100, 1000), (1000, 1000), (1000, 20000)]
IDLE = [1, 1000, 10000, 20000]
MOST = {"select": 900}  # FD_SETSIZE is 1024, and others have descriptors too.


@dataclass
class Case:
    backend: str
    operation: str
    ready: int
    registered: int
    #: How many were to be registered, had the limits allowed it.
    asked: int
    subjects: dict[str, Subject]
    #: ("floor", 1.25): netcore shall take at most 1.25 times as long as the floor.
    target: tuple[str, float] | None = None


class Peers:
    """The selectors and floors of one backend, closed together."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._stack = ExitStack()

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def floor(self, fds: Iterable[int] = ()) -> Floor:
        floor = PEERS[self.backend][0](list(fds))
        self._stack.callback(floor.close)
        return floor

    def stdlib(self, files: Iterable[Any] = ()) -> Any:
        return self._filled(getattr(selectors, PEERS[self.backend][1])(), files)

    def netcore(self, files: Iterable[Any] = ()) -> Any:
        return self._filled(netcore.Selector(self.backend), files)

    def _filled(self, selector: Any, files: Iterable[Any]) -> Any:
        self._stack.enter_context(selector)
        for file in files:
            selector.register(file, READ)
        return selector


def all_cases(backend: str, most: int) -> Iterator[Case]:
    """Every case of ``backend``, with at most ``most`` descriptors. Valid until the next one."""
    most = min(most, MOST.get(backend, most))
    for ready, asked in SHAPES:
        with Peers(backend) as peers, opened(min(ready, most), min(asked, most)) as files:
            yield _wait(peers, files, min(ready, most), asked)
    if backend == "epoll":
        for asked in IDLE:
            with Peers(backend) as peers, opened(1, min(asked, most)) as files:
                yield _idle(peers, files, asked)
    for ready, asked in SHAPES[0], SHAPES[2]:
        with Peers(backend) as peers, opened(min(ready, most), min(asked, most)) as files:
            yield _wait(peers, files, min(ready, most), asked, None)
            yield _wait(peers, files, min(ready, most), asked, 0.25)
            yield _dispatch(peers, files, min(ready, most), asked)
    with opened(0, min(1000, most)) as files:
        yield from _changes(backend, [sock.fileno() for sock in files], "")
        yield from _changes(backend, files, ", sockets")
    yield from _echoes(backend, [1, min(50, most)])


def _wait(
    peers: Peers,
    files: list[socket.socket],
    ready: int,
    asked: int,
    timeout: float | None = 0,
) -> Case:
    fds = [sock.fileno() for sock in files]
    statement, names = peers.floor(fds).wait(timeout)
    subjects = {name: Subject(statement, names) for name in ("floor", "again")}
    for name, selector in ("stdlib", peers.stdlib(fds)), ("netcore", peers.netcore(fds)):
        subjects[name] = Subject(f"selector.select({timeout})", {"selector": selector})
    target = ("floor", 1.25 if ready >= 100 else 1.45) if peers.backend == "epoll" else None
    return Case(peers.backend, f"select({timeout})", ready, len(fds), asked, subjects, target)


def _idle(peers: Peers, files: list[socket.socket], asked: int) -> Case:
    """Subject ``alone``: netcore with nothing but the one that is ready."""
    case = _wait(peers, files, 1, asked)
    selector = peers.netcore([files[0].fileno()])
    case.subjects["alone"] = Subject("selector.select(0)", {"selector": selector})
    case.operation, case.target = "select(0), idle", ("alone", 1.1)
    return case


def _dispatch(peers: Peers, files: list[socket.socket], ready: int, asked: int) -> Case:
    """The loop around a select: from what is ready to the user's data for it."""
    fds = [sock.fileno() for sock in files]
    statement, names = peers.floor(fds).wait(0)
    if peers.backend == "select":
        statement = f"for fd in ({statement})[0]: data[fd]"
    elif peers.backend == "kqueue":
        statement = f"for event in {statement}: data[event.ident]"
    else:
        statement = f"for fd, mask in {statement}: data[fd]"
    names["data"] = dict.fromkeys(fds)
    subjects = {name: Subject(statement, names) for name in ("floor", "again")}
    for name, selector in ("stdlib", peers.stdlib(fds)), ("netcore", peers.netcore(fds)):
        subjects[name] = Subject(
            "for key, events in selector.select(0): key.data", {"selector": selector}
        )
    return Case(peers.backend, "for ... in select(0)", ready, len(fds), asked, subjects)


def _changes(backend: str, files: list[Any], label: str) -> Iterator[Case]:
    """register, modify and unregister of ``files``, and what depends on the map only."""
    with Peers(backend) as peers:
        changers: dict[str, tuple[Any, int, int]] = {}
        if PEERS[backend][0].has_changes:
            for name in "floor", "again":
                floor = peers.floor()
                changers[name] = floor.changes(), floor.read, floor.both
            changers["stdlib"] = peers.stdlib(), READ, BOTH
        else:
            for name in "stdlib", "again":
                changers[name] = peers.stdlib(), READ, BOTH
        changers["netcore"] = peers.netcore(), READ, BOTH

        yield _change(backend, "register", "unregister", changers, files, label, 0.85)
        for changer, read, _ in changers.values():
            for file in files:
                changer.register(file, read)
        yield _change(backend, "modify", None, changers, files, label, 0.7)
        yield _map(backend, peers, files, "modify data" + label, "selector.modify(file, 1, {})")
        yield _map(backend, peers, files, "get_key" + label, "selector.get_key(file)")
        yield _change(backend, "unregister", "register", changers, files, label, 1.0)


def _change(
    backend: str,
    method: str,
    inverse: str | None,
    changers: dict[str, tuple[Any, int, int]],
    files: list[Any],
    label: str,
    limit: float,
) -> Case:
    """``method`` of every changer, undone by ``inverse``."""
    statements = {
        "register": "for file in files: changer.register(file, read)",
        "modify": (
            "for file in files: changer.modify(file, both)\n"
            "for file in files: changer.modify(file, read)"
        ),
        "unregister": "for file in files: changer.unregister(file)",
    }
    subjects = {}
    for name, (changer, read, both) in changers.items():
        names = {"changer": changer, "files": files, "read": read, "both": both}
        undo = Subject(statements[inverse], names) if inverse else None
        subjects[name] = Subject(
            statements[method],
            names,
            len(files) * (2 if method == "modify" else 1),
            partial(undo.block, 1) if undo else None,
        )
    target = ("stdlib", limit) if backend == "epoll" else None
    return Case(backend, method + label, 0, len(files), len(files), subjects, target)


def _map(backend: str, peers: Peers, files: list[Any], operation: str, statement: str) -> Case:
    """What needs no system call: there is no floor, the stdlib is measured twice."""
    selectors_ = {
        "stdlib": peers.stdlib(files),
        "again": peers.stdlib(files),
        "netcore": peers.netcore(files),
    }
    lines = [f"for file in files: {statement.format(data)}" for data in (7, 8)]
    subjects = {
        name: Subject(
            "\n".join(lines),
            {"selector": selector, "files": files},
            2 * len(files),
        )
        for name, selector in selectors_.items()
    }
    return Case(backend, operation, 0, len(files), len(files), subjects)


def _echoes(backend: str, sizes: list[int]) -> Iterator[Case]:
    """asyncio on top: one byte back and forth on each of some connections."""
    for connections in sizes:
        with Peers(backend) as peers, ExitStack() as stack:
            subjects = {
                name: stack.enter_context(echo_subject(selector, connections))
                for name, selector in (
                    ("stdlib", peers.stdlib()),
                    ("again", peers.stdlib()),
                    ("netcore", peers.netcore()),
                )
            }
            yield Case(
                backend, "asyncio echo", connections, 2 * connections, 2 * connections, subjects
            )
