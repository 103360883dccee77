"""What an HTTP/1.1 file server answers: from the bytes of a request to a response; no sockets.

GET and HEAD of what lies below one directory, as RFC 9110 and RFC 9112 want it.
"""

from __future__ import annotations

import errno
import html
import mimetypes
import os
import re
import stat
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes, urlsplit

#: The longest request line and header lines, together, that are accepted.
MAX_HEAD = 16384

_REQUEST_LINE = re.compile(r"([!-~]+) ([!-~]+) HTTP/1\.([0-9])")
_HEADER = re.compile(r"([-!#$%&'*+.^_`|~0-9A-Za-z]+):([^\0\r\n]*)")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_STATUS = {errno.EACCES: 403, errno.EPERM: 403, errno.EMFILE: 503, errno.ENFILE: 503}


@dataclass
class Request:
    """A request that can be answered."""

    method: str
    target: str
    headers: dict[str, str]
    keep_alive: bool


@dataclass
class Response:
    """The bytes to send first, then those of ``file``, if any, from ``start`` to ``end``."""

    head: bytes
    keep_alive: bool
    file: BinaryIO | None = None
    start: int = 0
    end: int = 0


class Refused(Exception):
    """The request is answered with an error or a redirection."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers


def answer(head: bytes, root: str) -> Response:
    """The response to a request, given all that comes before its empty line.

    ``root`` is a directory without symbolic links in its path (``os.path.realpath``). Whoever gets
    a response with a file closes the file.
    """
    request = Request("GET", "", {}, keep_alive=False)  # Until we know better.
    try:
        request = parse(head)
        return _find(request, root)
    except Refused as refused:
        return _refusal(request, refused.status, **refused.headers)
    except OSError as error:
        return _refusal(request, _STATUS.get(error.errno or 0, 404))


def _refusal(request: Request, status: int, **headers: str) -> Response:
    text = f"{status} {HTTPStatus(status).phrase}\n".encode()
    return _with_text(request, status, text, "text/plain", **headers)


# -- the request


def take_head(received: bytearray) -> bytes | None:
    """Take the next request, without its empty line, out of ``received``; None if it is not all
    there. What is too long comes as more than MAX_HEAD bytes.
    """
    while received.startswith(b"\r\n"):  # RFC 9112, 2.2: ignored before a request.
        del received[:2]
    end = received.find(b"\r\n\r\n")
    if end < 0 and len(received) <= MAX_HEAD + 4:
        return None
    head = bytes(received[:end] if end >= 0 else received)
    del received[: len(head) + 4]
    return head


def parse(head: bytes) -> Request:
    """The request in ``head``. Raises Refused."""
    if len(head) > MAX_HEAD:
        raise Refused(431)
    first, *lines = head.decode("latin-1").split("\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    if not line:
        raise Refused(505 if re.fullmatch(r"[!-~]+ [!-~]+ HTTP/[0-9.]+", first) else 400)
    headers: dict[str, str] = {}
    for text in lines:
        field = _HEADER.fullmatch(text)
        name, value = (field[1].lower(), field[2].strip(" \t")) if field else ("", "")
        if not name or (name == "host" and name in headers):
            raise Refused(400)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    method, target, minor = line.groups()
    if minor != "0" and "host" not in headers:
        raise Refused(400)
    if method not in ("GET", "HEAD"):
        raise Refused(405, Allow="GET, HEAD")
    return Request(method, target, headers, _keeps_alive(minor, headers))


def _keeps_alive(minor: str, headers: dict[str, str]) -> bool:
    # A body is not read, so what follows it cannot be found.
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        return False
    options = {option.strip() for option in headers.get("connection", "").lower().split(",")}
    return "close" not in options and (minor != "0" or "keep-alive" in options)


def _names(target: str) -> list[str]:
    """The parts of the path, decoded; the last one is empty for a directory. Raises Refused."""
    try:
        if not target.startswith("/"):
            scheme, _, target, _, _ = urlsplit(target)
            if scheme not in ("http", "https"):
                raise Refused(400)
        path = os.fsdecode(unquote_to_bytes(target.partition("?")[0]))
    except ValueError:
        raise Refused(400) from None
    names = (path.replace(os.sep, "/") or "/").split("/")[1:]
    if "\0" in path or ".." in names:
        raise Refused(404)
    return [name for name in names[:-1] if name not in ("", ".")] + [names[-1]]


# -- what it asks for


def _find(request: Request, root: str) -> Response:
    names = _names(request.target)
    path = _below(root, names)
    kind = os.stat(path).st_mode
    if stat.S_ISDIR(kind):
        if names[-1]:
            # Made of the parts, as "//host/" would lead elsewhere.
            raise Refused(301, Location="/" + "".join(_quoted(name + "/") for name in names))
        if not os.path.isfile(os.path.join(path, "index.html")):
            return _with_text(request, 200, _listing(path, names), "text/html; charset=utf-8")
        path = _below(root, [*names, "index.html"])
    elif not names[-1] or not stat.S_ISREG(kind):
        raise Refused(404)
    file = open(path, "rb", buffering=0)  # noqa: SIM115 - the response takes it along
    try:
        return _with_file(request, file)
    except BaseException:
        file.close()
        raise


def _below(root: str, names: list[str]) -> str:
    """The path without symbolic links. Raises Refused if they lead out of the root."""
    path = os.path.realpath(os.path.join(root, *names))
    if path != root and not path.startswith(os.path.join(root, "")):
        raise Refused(404)
    return path


def _with_file(request: Request, file: BinaryIO) -> Response:
    found = os.fstat(file.fileno())
    size, modified = found.st_size, formatdate(found.st_mtime, usegmt=True)
    headers = {"Last-Modified": modified, "Accept-Ranges": "bytes"}
    if _not_modified(request, found.st_mtime):
        file.close()
        return Response(_head(request, 304, headers), request.keep_alive)
    status, start, end = 200, 0, size
    asked = request.headers.get("range", "")
    if request.method == "GET" and request.headers.get("if-range", modified) == modified:
        part = _part(asked, size)
        if part:
            status, (start, end) = 206, part
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    kind, encoding = mimetypes.guess_type(file.name)
    headers["Content-Type"] = (not encoding and kind) or "application/octet-stream"
    headers["Content-Length"] = str(end - start)
    head = _head(request, status, headers)
    if request.method == "HEAD":
        file.close()
        return Response(head, request.keep_alive)
    return Response(head, request.keep_alive, file, start, end)


def _not_modified(request: Request, mtime: float) -> bool:
    if "if-none-match" in request.headers:  # Takes precedence, and we give no entity tags.
        return False
    try:
        since = parsedate_to_datetime(request.headers["if-modified-since"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError, IndexError):
        return False  # Not asked, or no date: "MUST ignore" (RFC 9110, 13.1.3).
    return int(mtime) <= since


def _part(text: str, size: int) -> tuple[int, int] | None:
    """The start and the end of a single range; None, for everything, if it is anything else."""
    found = _RANGE.fullmatch(text)
    if not found or text == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise Refused(416, Content_Range=f"bytes */{size}")
    return start, end


def _listing(path: str, names: list[str]) -> bytes:
    title = html.escape("/" + "/".join(names))
    names = sorted(os.listdir(path))
    names = [name + "/" * os.path.isdir(os.path.join(path, name)) for name in names]
    items = (f'<li><a href="{_quoted(name)}">{html.escape(name)}</a></li>' for name in names)
    page = "\n".join(["<!DOCTYPE html>", f"<title>{title}</title>", f"<h1>{title}</h1>",
                      "<ul>", *items, "</ul>", ""])  # fmt: skip
    return page.encode("utf-8", "replace")


def _quoted(name: str) -> str:
    return quote(os.fsencode(name))


# -- the response


def _with_text(request: Request, status: int, text: bytes, kind: str, **headers: str) -> Response:
    headers.update({"Content-Type": kind, "Content-Length": str(len(text))})
    head = _head(request, status, headers)
    return Response(head if request.method == "HEAD" else head + text, request.keep_alive)


def _head(request: Request, status: int, headers: dict[str, str]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Date: {formatdate(usegmt=True)}",
        f"Connection: {'keep-alive' if request.keep_alive else 'close'}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
