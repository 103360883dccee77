"""Which backends the rules are held against, the gates, and the report."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from netcore import Selector, available_backends
from netcore._loader import load
from netcore._pytest import PROPERTY
from netcore.contract import ReadinessBackend

from .rules import Gate
from .tools import STREAMS, Subject, open_stream, tcp_pair
from .wine import deviation


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rule(number, gate): a rule of the conformance suite")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        names = metafunc.config.getoption("--netcore-backend") or available_backends()
        metafunc.parametrize("backend", names, indirect=True, scope="session")


def pytest_sessionstart(session: pytest.Session) -> None:
    """A backend that was asked for and is not there is a failure, not a skip."""
    for name in session.config.getoption("--netcore-backend"):
        try:
            load(name)
        except (ValueError, TypeError) as error:
            raise pytest.UsageError(f"--netcore-backend={name}: {error}") from error


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> type[ReadinessBackend]:
    """The backend that is held to the rules."""
    return load(request.param)


@pytest.fixture(autouse=True)
def _gate(request: pytest.FixtureRequest) -> None:
    """Skip, with the reason, what the backend does not declare."""
    mark = request.node.get_closest_marker("rule")
    if mark is None or "backend" not in request.fixturenames:
        return
    number, gate = mark.args
    assert isinstance(gate, Gate)
    backend = request.getfixturevalue("backend")
    reason = gate.reason(backend) or deviation(request.node.name, backend.name)
    request.node.user_properties.append((PROPERTY, [number, backend.name]))
    if reason:
        pytest.skip(f"rule {number}: {reason}")


@pytest.fixture
def subject(backend: type[ReadinessBackend]) -> Iterator[Subject]:
    """Makes selectors on the backend under test and closes them."""
    subject = Subject(backend)
    yield subject
    subject.close()


@pytest.fixture
def selector(subject: Subject) -> Selector:
    """A selector on the backend under test."""
    return subject.new()


@pytest.fixture
def pair() -> Iterator[tuple[Any, Any]]:
    """A connected TCP pair, closed after the test."""
    a, b = tcp_pair()
    with a, b:
        yield a, b


@pytest.fixture
def other() -> Iterator[tuple[Any, Any]]:
    """One more of them."""
    a, b = tcp_pair()
    with a, b:
        yield a, b


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening TCP socket, non-blocking."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(128)
        sock.setblocking(False)
        yield sock


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """A TCP socket that is not connected yet, non-blocking."""
    with socket.socket() as sock:
        sock.setblocking(False)
        yield sock


@pytest.fixture(params=STREAMS)
def stream(
    request: pytest.FixtureRequest, backend: type[ReadinessBackend]
) -> Iterator[tuple[Any, Any]]:
    """The reading and the writing end of a stream, of each kind in turn."""
    yield from open_stream(request.param, backend)
