"""The examples do what they say: both file servers on every backend, the echo server, the demo."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import BinaryIO, NamedTuple, Union

import pytest
from netcore.conformance.tools import assert_same, reset
from servers import starting, wait_until

import netcore

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

import demo  # noqa: E402
import http_file_server  # noqa: E402
from completion_file_server import FileServer  # noqa: E402
from http_file_server import Server  # noqa: E402
from http_responses import MAX_HEAD, answer  # noqa: E402

SOON = 10.0
SMALL = b"0123456789"
BIG = random.Random(1).getrandbits(8 * (6 << 20)).to_bytes(6 << 20, "little")
ODD_NAME = "<b> & \"ü\" 'x' %41?.txt"
GET = b"GET /%s HTTP/1.1\r\nHost: h\r\n%s\r\n"
unix_only = pytest.mark.skipif(os.name != "posix", reason="signals and limits of Unix")


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A raw connection, to send what no HTTP library would."""

    def __init__(self, address: tuple[str, int], timeout: float = SOON, room: int = 0) -> None:
        self.sock = socket.socket()
        if room:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.sock.settimeout(timeout)
        self.sock.connect(address)
        self.file: BinaryIO = self.sock.makefile("rb")

    def ask(self, request: bytes, *, body: bool = True) -> Reply:
        self.sock.sendall(request)
        return self.reply(body=body)

    def reply(self, *, body: bool = True) -> Reply:
        """The next reply. Raises EOFError if there is none."""
        line = self.file.readline()
        if not line:
            raise EOFError
        headers = {}
        while (text := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = text.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        size = int(headers.get("content-length", 0)) if body else 0
        return Reply(int(line.split()[1]), headers, self.file.read(size))

    def reset(self) -> None:
        """Close with RST."""
        reset(self.sock)
        self.file.close()

    def close(self) -> None:
        self.file.close()
        self.sock.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is served, with something next to it that must not be."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("secret")
    site = outside / "site"
    (site / "folder").mkdir(parents=True)
    (site / "with_index").mkdir()
    (site / "with_index" / "index.html").write_text("<p>index")
    (site / "small.txt").write_bytes(SMALL)
    (site / "empty").touch()
    (site / "big.bin").write_bytes(BIG)
    (outside / "site2").mkdir()
    (outside / "site2" / "secret.txt").write_text("secret")
    if os.name == "posix":
        (site / ODD_NAME).write_bytes(b"odd")
        (site / "inside").symlink_to("small.txt")
        (site / "outside").symlink_to(outside / "secret.txt")
        (site / "up").symlink_to("..")
        (site / "loop").symlink_to("loop")
        os.mkfifo(site / "fifo")
    return site


AServer = Union[Server, FileServer]
Start = Callable[..., AServer]
PROGRAMS = ["http_file_server.py", "completion_file_server.py"]


@pytest.fixture(params=[Server, FileServer], ids=["readiness", "completion"])
def kind(request: pytest.FixtureRequest) -> type[AServer]:
    return request.param


@pytest.fixture(params=netcore.available_backends())
def start(kind: type[AServer], request: pytest.FixtureRequest, site: Path) -> Iterator[Start]:
    """Starts servers on one of the backends; afterwards none of them may have failed."""
    with starting(request.param) as run:

        def start(root: Path = site, **options: float) -> AServer:
            return run(kind, str(root), **options)

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Opens connections and closes them in the end."""
    with contextlib.ExitStack() as stack:

        def connect(server: AServer, **options: float) -> Client:
            client = Client(_address(server), **options)
            stack.callback(client.close)
            return client

        yield connect


def _address(server: AServer) -> tuple[str, int]:
    return server.listener.getsockname()[:2]


Connect = Callable[..., Client]


# -- the file server, over sockets, on every backend


def test_pipelined_requests_are_answered_in_order(start: Start, connect: Connect) -> None:
    """RFC 9112, 9.3.2; here all requests come in one segment."""
    client = connect(start())
    names = [b"small.txt", b"empty", b"nothing", b"small.txt", b"big.bin", b"small.txt"] * 3
    client.sock.sendall(b"".join(GET % (name, b"") for name in names))
    for name in names:
        status, _, body = client.reply()
        expected = {b"small.txt": SMALL, b"empty": b"", b"big.bin": BIG}
        assert status == (404 if name == b"nothing" else 200)
        assert status == 404 or body == expected[name]


def test_a_request_may_come_byte_by_byte(start: Start, connect: Connect) -> None:
    client = connect(start())
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(2):
        for byte in b"\r\n" + GET % (b"small.txt", b"X: y\r\n"):
            client.sock.sendall(bytes([byte]))
        assert client.reply().body == SMALL


def test_a_connection_is_kept_unless_somebody_wants_it_closed(
    start: Start, connect: Connect
) -> None:
    server = start()
    client = connect(server)
    assert client.ask(GET % (b"small.txt", b"")).headers["connection"] == "keep-alive"
    reply = client.ask(GET % (b"small.txt", b"Connection: x, Close\r\n"))
    assert (reply.body, reply.headers["connection"]) == (SMALL, "close")
    with pytest.raises(EOFError):
        client.reply()

    old = connect(server)
    kept = old.ask(b"GET /small.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert kept.headers["connection"] == "keep-alive"
    assert old.ask(b"GET /small.txt HTTP/1.0\r\n\r\n").body == SMALL
    with pytest.raises(EOFError):
        old.reply()


def test_head_has_the_headers_of_get_and_no_body(start: Start, connect: Connect) -> None:
    client = connect(start())
    statuses = {b"small.txt": 200, b"empty": 200, b"nothing": 404, b"": 200, b"folder": 301}
    for name, status in statuses.items():
        head = client.ask((GET % (name, b"")).replace(b"GET", b"HEAD"), body=False)
        get = client.ask(GET % (name, b""))
        assert head.status == get.status == status
        assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


def test_a_part_of_a_big_file_can_be_fetched(start: Start, connect: Connect) -> None:
    client = connect(start())
    reply = client.ask(GET % (b"big.bin", b"Range: bytes=1000000-2999999\r\n"))
    assert reply.status == 206
    assert reply.headers["content-range"] == f"bytes 1000000-2999999/{len(BIG)}"
    assert_same(reply.body, BIG[1000000:3000000])
    assert client.ask(GET % (b"big.bin", b"Range: bytes=9999999-\r\n")).status == 416


def test_an_unread_body_does_not_destroy_the_answer(start: Start, connect: Connect) -> None:
    """RFC 9112, 9.6: closing with bytes unread would reset the connection."""
    client = connect(start())
    client.sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
    client.sock.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(999_982))
    reply = client.reply()
    assert (reply.status, reply.headers["connection"]) == (405, "close")
    with pytest.raises(EOFError):
        client.reply()


def test_a_head_without_end_is_refused(start: Start, connect: Connect) -> None:
    client = connect(start())
    assert client.ask(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000).status == 431
    with pytest.raises(EOFError):
        client.reply()


def test_many_connections_at_once(start: Start, connect: Connect) -> None:
    server = start()
    clients = [connect(server) for _ in range(150)]
    for client in clients:
        client.sock.sendall(GET % (b"small.txt", b""))
    assert all(client.reply().body == SMALL for client in clients)
    assert len(server.connections) == len(clients)
    for client in clients:
        client.close()
    wait_until(lambda: not server.connections)


def test_more_connections_than_there_is_room_for_wait_for_their_turn(
    start: Start, connect: Connect
) -> None:
    server = start()
    server.room = 3
    clients = [connect(server) for _ in range(10)]
    for client in clients:
        client.sock.sendall(GET % (b"small.txt", b""))
    assert clients[2].reply().body == SMALL
    assert _waits_in_half_a_second(server) < 10
    for client in clients[:2] + clients[3:]:
        assert client.reply().body == SMALL
        assert len(server.connections) <= 3
        client.close()


def test_a_slow_reader_gets_everything_and_delays_nobody(start: Start, connect: Connect) -> None:
    server = start()
    slow, quick = connect(server, room=4096), connect(server)
    slow.sock.sendall(GET % (b"big.bin", b""))
    for _ in range(20):
        before = time.monotonic()
        assert quick.ask(GET % (b"small.txt", b"")).body == SMALL
        assert time.monotonic() - before < SOON / 2
        slow.file.peek(1)
        time.sleep(0.01)
    assert_same(slow.reply().body, BIG)


def test_waiting_for_a_slow_reader_costs_nothing(start: Start, connect: Connect) -> None:
    """Read interest would spin: there is something to read, but nobody wants it yet."""
    server = start()
    client = connect(server, room=4096)
    client.sock.sendall(GET % (b"big.bin", b""))
    client.file.peek(1)
    client.sock.sendall(GET % (b"small.txt", b""))
    assert _waits_in_half_a_second(server) < 10
    assert_same(client.reply().body, BIG)
    assert client.reply().body == SMALL


def _waits_in_half_a_second(server: AServer) -> int:
    """How often the server goes round its loop when it should have nothing to do."""
    select, calls = server.selector.select, 0

    def counting(*arguments: float | None) -> object:
        nonlocal calls
        calls += 1
        return select(*arguments)

    time.sleep(0.2)
    server.selector.select = counting
    server.selector.wakeup()
    time.sleep(0.5)
    return calls


def test_a_long_listing_is_sent_to_a_slow_reader(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    for number in range(300):
        (tmp_path / f"{number:0200}").touch()
    server = start(tmp_path)
    server.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # Inherited.
    client = connect(server, room=4096)
    client.sock.sendall(GET % (b"", b""))
    time.sleep(0.1)
    reply = client.reply()
    assert len(reply.body) == int(reply.headers["content-length"])
    assert reply.body.count(b"<li>") == 300


def test_a_reset_in_the_middle_harms_nobody_else(start: Start, connect: Connect) -> None:
    server = start()
    for request in (b"", b"GET / HT", GET % (b"big.bin", b""), (GET % (b"", b"")) * 50):
        for _ in range(5):
            client = connect(server)
            client.sock.sendall(request)
            client.reset()
    assert connect(server).ask(GET % (b"small.txt", b"")).body == SMALL
    wait_until(lambda: len(server.connections) == 1)


def test_a_client_that_closes_its_side_first_gets_its_answers(
    start: Start, connect: Connect
) -> None:
    client = connect(start())
    client.sock.sendall((GET % (b"small.txt", b"")) * 3)
    client.sock.shutdown(socket.SHUT_WR)
    assert [client.reply().body for _ in range(3)] == [SMALL] * 3
    with pytest.raises(EOFError):
        client.reply()


def test_an_idle_connection_is_closed(start: Start, connect: Connect) -> None:
    server = start(idle=1)
    silent, talking = connect(server), connect(server)
    before = time.monotonic()
    while time.monotonic() - before < 1.2:
        assert talking.ask(GET % (b"small.txt", b"")).status == 200
        time.sleep(0.05)
    assert silent.sock.recv(1) == b""
    assert time.monotonic() - before < SOON / 2
    assert talking.ask(GET % (b"small.txt", b"")).status == 200


def test_a_file_that_shrinks_ends_its_connection(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    """What was promised cannot be sent any more; the client must notice."""
    (tmp_path / "file").write_bytes(BIG)
    server = start(tmp_path)
    client = connect(server, room=4096)
    client.sock.sendall(GET % (b"file", b""))
    client.file.peek(1)
    os.truncate(tmp_path / "file", 10)
    reply = client.reply()
    assert len(reply.body) < int(reply.headers["content-length"])
    assert connect(server).ask(GET % (b"file", b"")).body == BIG[:10]


@pytest.mark.parametrize("kind", [Server], indirect=True)
def test_files_are_sent_without_sendfile_too(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_file_server, "send_part", http_file_server.send_by_reading)
    client = connect(start(), room=4096)
    assert_same(client.ask(GET % (b"big.bin", b"")).body, BIG)
    part = client.ask(GET % (b"big.bin", b"Range: bytes=-1000001\r\n"))
    assert_same(part.body, BIG[-1000001:])


# -- what it answers


def _answer(site: Path, target: str, *headers: str, method: str = "GET") -> Reply:
    """The whole response to one request, without a connection."""
    head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: h", *headers])
    response = answer(head.encode("latin-1"), os.path.realpath(site))
    top, _, body = response.head.partition(b"\r\n\r\n")
    if response.file:
        with response.file as file:
            file.seek(response.start)
            body += file.read(response.end - response.start)
    first, *lines = top.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines)
    return Reply(int(first.split()[1]), fields, body)


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E./secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/folder/../../secret.txt",
        "/folder/%2e%2e/%2e%2e/secret.txt",
        "/../site2/secret.txt",
        "//../secret.txt",
        "http://h/../secret.txt",
        "/..",
        "/%2e%2e/",
        "/outside",
        "/up/secret.txt",
        "/up/",
        "/up/site2/secret.txt",
        "/loop",
        "/fifo",
        "/folder/../small.txt",
        "/small.txt/",
        "/small.txt%00",
        "/small.txt%00.html",
        "/%252e%252e/secret.txt",
        "/nothing",
        "/" + "x" * 5000,
        # On Windows that is no name at all: names are UTF-16 there.
        pytest.param("/%ff%fe", marks=pytest.mark.skipif(os.name == "nt", reason="a bad request")),
    ],
)
def test_nothing_outside_the_directory_is_served(site: Path, target: str) -> None:
    reply = _answer(site, target)
    assert reply.status == 404
    assert b"secret" not in reply.body


@pytest.mark.skipif(os.name != "nt", reason="names are bytes")
def test_what_cannot_be_a_name_is_a_bad_request(site: Path) -> None:
    assert _answer(site, "/%ff%fe").status == 400


def test_an_absolute_path_in_the_target_is_relative_to_the_directory(site: Path) -> None:
    assert _answer(site, f"/{site.parent}/secret.txt").status == 404


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=0-3", 206, b"0123"),
        ("bytes=4-", 206, b"456789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=-999", 206, SMALL),
        ("bytes=8-999", 206, b"89"),
        ("bytes=9-9", 206, b"9"),
        ("bytes=10-", 416, None),
        ("bytes=10-20", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=3-2", 200, SMALL),
        ("bytes=-", 200, SMALL),
        ("bytes=0-1,3-4", 200, SMALL),
        ("bytes=a-b", 200, SMALL),
        ("lines=1-2", 200, SMALL),
        ("bytes=" + "9" * 5000 + "-", 200, SMALL),
    ],
)
def test_a_range_is_served_refused_or_ignored(
    site: Path, asked: str, status: int, body: bytes | None
) -> None:
    """RFC 9110, 14.2: what is not understood is ignored, what lies behind the end is refused."""
    reply = _answer(site, "/small.txt", f"Range: {asked}")
    assert reply.status == status
    if body is None:
        assert reply.headers["content-range"] == "bytes */10"
    else:
        assert reply.body == body
        assert reply.headers["content-length"] == str(len(body))


def test_no_range_of_an_empty_file_can_be_served(site: Path) -> None:
    assert _answer(site, "/empty", "Range: bytes=0-").status == 416
    assert _answer(site, "/empty").status == 200


def test_a_range_of_another_version_is_not_served(site: Path) -> None:
    """RFC 9110, 13.1.5."""
    modified = _answer(site, "/small.txt").headers["last-modified"].title().replace("Gmt", "GMT")
    asked = "Range: bytes=1-2"
    assert _answer(site, "/small.txt", asked, f"If-Range: {modified}").status == 206
    assert _answer(site, "/small.txt", asked, 'If-Range: "other"').status == 200


def test_what_has_not_changed_is_not_sent_again(site: Path) -> None:
    modified = _answer(site, "/small.txt").headers["last-modified"]
    since = f"If-Modified-Since: {modified}"
    assert _answer(site, "/small.txt", since)[::2] == (304, b"")
    old = "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"
    assert _answer(site, "/small.txt", old).body == SMALL
    assert _answer(site, "/small.txt", since, 'If-None-Match: "x"').body == SMALL
    for nonsense in ("yesterday", "", "0", "Thu, 99 Jan 99999 00:00:00 GMT"):
        assert _answer(site, "/small.txt", f"If-Modified-Since: {nonsense}").status == 200


@unix_only
def test_a_directory_is_listed_with_its_names_escaped(site: Path) -> None:
    reply = _answer(site, "/")
    assert reply.headers["content-type"].startswith("text/html")
    assert b"<b>" not in reply.body
    assert b'<a href="small.txt">small.txt</a>' in reply.body
    assert b'<a href="folder/">folder/</a>' in reply.body
    link = b"%3Cb%3E%20%26%20%22%C3%BC%22%20%27x%27%20%2541%3F.txt"
    assert b'"%s"' % link in reply.body
    assert _answer(site, "/" + link.decode()).body == b"odd"


def test_a_directory_has_its_index_and_its_slash(site: Path) -> None:
    assert _answer(site, "/with_index/").body == b"<p>index"
    for target in ("/folder", "//folder", "/./folder", "/folder?x"):
        reply = _answer(site, target)
        assert (reply.status, reply.headers["location"]) == (301, "/folder/")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 400),
        (b"GET", 400),
        (b"GET /", 400),
        (b"GET / HTTP/1.1", 400),  # Without Host: RFC 9112, 3.2.
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b", 400),
        (b"GET / HTTP/1.1\r\nHost : h", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n folded", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nno colon", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\nY: b", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: \0", 400),
        (b"GET  / HTTP/1.1\r\nHost: h", 400),
        (b"GET / x HTTP/1.1\r\nHost: h", 400),
        (b"GET * HTTP/1.1\r\nHost: h", 400),
        (b"GET ftp://h/ HTTP/1.1\r\nHost: h", 400),
        (b"GET http://[h/ HTTP/1.1\r\nHost: h", 400),
        (b"GET / HTTP/2.0\r\nHost: h", 505),
        (b"PUT / HTTP/1.1\r\nHost: h", 405),
        (b"get / HTTP/1.1\r\nHost: h", 405),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * MAX_HEAD, 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX:" + b" " * (MAX_HEAD - 100) + b"x", 200),
        (b"GET / HTTP/1.0", 200),
        (b"GET http://h HTTP/1.1\r\nHost: h", 200),
        (b"GET /?../.. HTTP/1.1\r\nHost: h", 200),
    ],
)
def test_a_malformed_request_is_refused(site: Path, head: bytes, status: int) -> None:
    before = time.process_time()
    response = answer(head, os.path.realpath(site))
    assert response.head.split()[1] == b"%d" % status
    assert time.process_time() - before < 0.2


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_what_follows_a_body_is_not_taken_for_a_request(site: Path, field: str) -> None:
    assert _answer(site, "/small.txt", field).headers["connection"] == "close"


def test_no_request_makes_the_server_fail(site: Path) -> None:
    """Whatever bytes come, there is an answer."""
    chance = random.Random(7)
    whole = (
        b"GET http://h:1/%2e/folder/../small.txt?a=%zz HTTP/1.1\r\nHost: [::1]:8\r\n"
        b"Connection: a\r\nRange: bytes=1-5\r\nIf-Range: x\r\n"
        b"If-Modified-Since: Sat, 01 Feb 2020 01:02:03 GMT"
    )
    for _ in range(3000):
        head = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(head))
            if chance.random() < 0.5:
                head[place] = chance.randrange(256)
            else:
                del head[place : place + chance.randrange(1, 12)]
        response = answer(bytes(head), os.path.realpath(site))
        if response.file:
            response.file.close()


# -- the programs


def _program(name: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )


@contextlib.contextmanager
def _serving(
    name: str, *arguments: str, **options: object
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A file server as a program, and its port."""
    with _program(name, "--port=0", *arguments, **options) as process:
        try:
            line = process.stdout.readline()
            yield process, int(re.search(r":([0-9]+)/? with ", line)[1])
        finally:
            process.kill()


def _hear_signals() -> None:
    """A program started in the background by a shell ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@unix_only
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_cleanly_when_interrupted(site: Path, name: str, number: int) -> None:
    with _serving(name, str(site), preexec_fn=_hear_signals) as (process, port):
        connection = HTTPConnection("127.0.0.1", port, timeout=SOON)
        connection.request("GET", "/small.txt")
        assert connection.getresponse().read() == SMALL
        process.send_signal(number)
        output, _ = process.communicate(timeout=SOON)
        connection.close()
    assert (process.returncode, output) == (0, "stopped\n")


@unix_only
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_server_survives_without_descriptors(site: Path, name: str) -> None:
    """accept() fails with EMFILE: those who wait are served when others have gone."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    with _serving(name, str(site), preexec_fn=limit) as (process, port):
        clients = [Client(("127.0.0.1", port)) for _ in range(40)]
        time.sleep(0.3)
        spent = _cpu_time(process.pid)
        time.sleep(0.5)
        assert _cpu_time(process.pid) - spent < 0.25, "it spins"
        for client in clients[:35]:
            client.close()
        for client in clients[35:]:
            while (reply := client.ask(GET % (b"small.txt", b""))).status == 503:
                pass  # It was let in before the others were noticed to have gone.
            assert reply.body == SMALL
            client.close()
        assert process.poll() is None


def _cpu_time(pid: int) -> float:
    """Seconds that a process has computed for; 0 where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("name", PROGRAMS)
def test_curl_gets_what_is_there(site: Path, name: str) -> None:
    """A client that we have not written."""
    with _serving(name, str(site)) as (_, port):
        url = f"http://127.0.0.1:{port}"
        curl = ["curl", "--silent", "--fail", "--max-time", "10"]
        several = [*curl, f"{url}/big.bin", f"{url}/small.txt", f"{url}/empty"]
        assert_same(subprocess.run(several, capture_output=True).stdout, BIG + SMALL)
        part = subprocess.run([*curl, "--range", "2-4", f"{url}/small.txt"], capture_output=True)
        assert part.stdout == b"234"
        bad = subprocess.run([*curl, "--path-as-is", f"{url}/../secret.txt"], capture_output=True)
        assert (bad.returncode, bad.stdout) == (22, b"")


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("arguments", [["--backend=nonsense"], ["--port=99999"]])
def test_a_bad_option_is_a_message(site: Path, name: str, arguments: list[str]) -> None:
    with _program(name, *arguments, str(site)) as process:
        output, _ = process.communicate(timeout=SOON)
    assert process.returncode == 1
    assert "Traceback" not in output


def test_the_echo_server_echoes_all_of_it_to_everybody() -> None:
    """The clients write more than fits into the sockets before they begin to read."""
    with _program("echo_server.py", "0") as process:
        try:
            port = int(process.stdout.readline().split("port ")[1].split()[0])
            socks = [socket.create_connection(("127.0.0.1", port), SOON) for _ in range(5)]
            writers = [threading.Thread(target=_say, args=(sock, BIG)) for sock in socks]
            for writer in writers:
                writer.start()
            time.sleep(0.1)
            for sock, writer in zip(socks, writers):
                with sock, sock.makefile("rb") as file:
                    assert_same(file.read(len(BIG)), BIG)
                    writer.join()
            assert process.poll() is None
        finally:
            process.kill()


def _say(sock: socket.socket, message: bytes) -> None:
    sock.sendall(message)


# -- the demo


def test_the_demo_finds_every_byte_right_on_every_backend() -> None:
    command = [sys.executable, str(EXAMPLES / "demo.py"), "--quick", "--connections=40"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line for line in done.stdout.splitlines() if line.endswith("every byte is right")]
    probe = [sys.executable, "-c", "import netcore; print(*netcore.available_backends())"]
    available = subprocess.run(probe, capture_output=True, text=True).stdout.split()
    assert [row.split()[0] for row in rows] == available * 3  # Files, files by proxy, messages.


@pytest.mark.parametrize(
    ("served", "there"),
    [(b"0123", b"0124"), (b"0123", b"012"), (b"012", b"0123"), (b"", b"0"), (b"0", b""),
     (BIG, BIG[:-1] + b"x")],
    ids=["other", "more", "less", "nothing", "something", "last"],
)  # fmt: skip
def test_the_demo_notices_a_wrong_byte(
    start: Start, tmp_path: Path, served: bytes, there: bytes
) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "served" / "file").write_bytes(served)
    (tmp_path / "there" / "file").write_bytes(there)
    host, port = _address(start(tmp_path / "served"))
    result = demo.measure(f"{host}:{port}", tmp_path / "there", ["file"], 2)
    assert (result.files, len(result.errors)) == (0, 1)
    assert not demo.report("x", result, 1, 2)
    good = demo.measure(f"{host}:{port}", tmp_path / "served", ["file"] * 3, 2)
    assert (good.files, good.size, good.errors) == (3, 3 * len(served), [])
