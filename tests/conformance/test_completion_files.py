"""H. Completion: files that are sent, and pipes."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import pytest

from netcore import (
    Operation,
    OperationCancelled,
    Recv,
    Selector,
    SendAll,
    SendFile,
)

from .completions import (
    assert_nothing_done,
    done_by,
    finished,
    outcome,
    pattern,
    reader_of,
)
from .rules import rule
from .tools import SOON, assert_same, reset

Pair = tuple[socket.socket, socket.socket]
SIZE = 3_000_001
CONTENT = pattern(SIZE)


@pytest.fixture
def file() -> Iterator[IO[bytes]]:
    """A regular file with something in it, of which the position is in the middle."""
    with tempfile.TemporaryFile() as file:
        file.write(CONTENT)
        file.seek(1234)
        yield file


@rule(120)
def test_nothing_of_a_file_is_sent_in_turn(selector: Selector, pair: Pair, file: IO[bytes]) -> None:
    """Also where there is nothing to be done."""
    a, b = pair
    ops: list[Operation] = [SendAll(a, 4 * CONTENT), SendFile(a, file, 0, 0)]
    ops.append(SendFile(a, file, SIZE))
    for op in ops:
        selector.submit(op)
    assert_nothing_done(selector)
    with reader_of(b):
        assert finished(selector, *ops) == ops
        a.shutdown(socket.SHUT_WR)
    assert [op.result() for op in ops] == [4 * SIZE, 0, 0]


@rule(120)
def test_a_file_that_is_closed_is_an_error(selector: Selector, pair: Pair, file: IO[bytes]) -> None:
    """OSError, before submit and after it."""
    op = selector.submit(SendFile(pair[0], file))
    file.close()
    with pytest.raises(OSError, match=r"."):
        outcome(selector, op)
    with pytest.raises(OSError, match=r"closed") as raised:
        selector.submit(SendFile(pair[0], file))
    assert raised.value.errno == errno.EBADF
    assert_nothing_done(selector)


@rule(120)
@pytest.mark.parametrize(
    ("offset", "count"),
    [
        *((0, None), (0, SIZE), (1000, 500), (SIZE - 1, None), (SIZE - 1, 1)),
        *((0, 0), (SIZE, None), (SIZE + 10, None), (SIZE + 10, 5)),
        *((SIZE - 10, 1000), (0, 2 * SIZE), (1 << 20, 1 << 20)),
    ],
)
def test_a_part_of_a_file_is_sent(
    selector: Selector, pair: Pair, file: IO[bytes], offset: int, count: int | None
) -> None:
    """From ``offset`` on, up to its end or ``count`` bytes; less if it ends before. The result says
    how many, and so does ``bytes_sent``. Where the file was is not touched.
    """
    a, b = pair
    expected = CONTENT[offset:][: SIZE if count is None else count]
    op = SendFile(a, file, offset, count)
    with reader_of(b) as got:
        for _ in range(2):
            assert done_by(selector, op) == op.bytes_sent == len(expected)
        a.shutdown(socket.SHUT_WR)
    assert_same(got, 2 * expected)
    assert file.tell() == 1234


@rule(120)
def test_a_file_takes_its_turn(selector: Selector, pair: Pair, file: IO[bytes]) -> None:
    """Between what was submitted before and after it, to somebody who takes his time."""
    a, b = pair
    ops = [SendAll(a, b"head" * 1000), SendFile(a, file), SendAll(a, b"tail")]
    with reader_of(b, pause=0.002) as got:
        for op in ops:
            selector.submit(op)
        assert finished(selector, *ops, timeout=2 * SOON) == ops
        a.shutdown(socket.SHUT_WR)
    assert_same(got, b"head" * 1000 + CONTENT + b"tail")
    assert [op.result() for op in ops] == [4000, SIZE, 4]


@rule(120)
def test_one_file_goes_to_two_sockets(selector: Selector, pair: Pair, file: IO[bytes]) -> None:
    """At the same time: nobody uses its position."""
    a, b = pair
    ops = [selector.submit(SendFile(sock, file, timeout=10)) for sock in (a, b)]
    got = {a: bytearray(), b: bytearray()}
    recvs: dict[Any, Any] = {selector.submit(Recv(sock, 1 << 20)): sock for sock in (a, b)}
    left = set(ops)
    while left or recvs:
        for op in selector.wait(SOON)[1]:
            if op in left:
                left.discard(op)
                assert op.result() == SIZE
            else:
                sock = recvs.pop(op)
                got[sock] += op.result()
                if len(got[sock]) < SIZE:
                    recvs[selector.submit(op)] = sock
    for end in (a, b):
        assert_same(got[end], CONTENT)


@rule(120)
def test_a_cancelled_file_says_how_much_was_sent(
    selector: Selector, backend: Any, pair: Pair, file: IO[bytes]
) -> None:
    """As SendAll does."""
    a, b = pair
    file.truncate(64 << 20)
    op = selector.submit(SendFile(a, file))
    assert selector.wait(0.1) == ([], [])
    assert selector.cancel(op)
    with pytest.raises(OperationCancelled) as raised:
        outcome(selector, op)
    assert raised.value.bytes_sent == op.bytes_sent
    with reader_of(b) as got:
        a.shutdown(socket.SHUT_WR)
    assert len(got) == op.bytes_sent if backend.exact_cancelled_send else len(got) >= op.bytes_sent
    assert_same(got[:SIZE], CONTENT[: len(got)])


@rule(120)
def test_a_file_to_who_is_gone_fails(selector: Selector, pair: Pair, file: IO[bytes]) -> None:
    """With an error of the connection that says how much was sent."""
    a, b = pair
    file.truncate(64 << 20)
    op = selector.submit(SendFile(a, file))
    assert selector.wait(0.05) == ([], [])
    reset(b)
    finished(selector, op)
    with pytest.raises(ConnectionError) as raised:
        op.result()
    assert raised.value.bytes_sent == op.bytes_sent < 64 << 20  # type: ignore[attr-defined]


@rule(120)
def test_a_file_that_is_closed_meanwhile_is_an_error(
    selector: Selector, pair: Pair, file: IO[bytes]
) -> None:
    """Of that operation, and not of the wait; or it is sent, where the system holds it."""
    a, b = pair
    file.truncate(16 << 20)
    op = selector.submit(SendFile(a, file))
    behind = selector.submit(SendAll(a, b"tail"))
    assert selector.wait(0.05) == ([], [])
    file.close()
    with reader_of(b):
        finished(selector, op, behind)
        a.shutdown(socket.SHUT_WR)
    try:
        assert op.result() == 16 << 20
    except (OSError, ValueError):
        assert op.bytes_sent < 16 << 20
    assert behind.result() == 4


@rule(120)
@pytest.mark.parametrize(
    ("offset", "count"), [(-1, None), (0, -1), ("0", None), (0, "1"), (1.5, None), (0, 1.5)]
)
def test_a_part_that_cannot_be_is_refused(
    selector: Selector, pair: Pair, file: IO[bytes], offset: Any, count: Any
) -> None:
    """ValueError or TypeError from ``submit``."""
    op = SendFile(pair[0], file, offset, count)
    with pytest.raises((ValueError, TypeError)):
        selector.submit(op)
    assert_nothing_done(selector, 0.01)
    op.offset, op.count = 0, 5
    assert done_by(selector, op) == 5


@rule(120)
def test_what_is_no_file_is_refused(selector: Selector, pair: Pair) -> None:
    """A pipe, what is closed, or what has no descriptor; or a file to a datagram socket."""
    import io

    reader, writer = os.pipe()
    closed = tempfile.TemporaryFile()  # noqa: SIM115
    closed.close()
    with open(reader, "rb") as end, tempfile.TemporaryFile() as file:
        os.close(writer)
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.setblocking(False)
            for sock, wrong in ((pair[0], end), (pair[0], closed), (pair[0], io.BytesIO(b"x"))):
                with pytest.raises((ValueError, TypeError, OSError)):
                    selector.submit(SendFile(sock, wrong))
            with pytest.raises(ValueError, match="stream"):
                selector.submit(SendFile(udp, file))
    assert_nothing_done(selector, 0.01)
    assert done_by(selector, SendAll(pair[0], b"x")) == 1
