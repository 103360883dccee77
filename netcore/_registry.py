"""Who is registered: file objects, their descriptors and keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from selectors import SelectorKey
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


def fileno_of(fileobj: FileDescriptorLike) -> int:
    """The descriptor of an int or of an object with ``fileno()``.

    Raises ValueError where there is none, as the stdlib's selectors do: a closed object, a negative
    number, the wrong type.
    """
    if isinstance(fileobj, int):
        fd = fileobj
    else:
        try:
            fd = int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"no open file descriptor in {fileobj!r}") from None
    if fd < 0:
        raise ValueError(f"no open file descriptor in {fileobj!r}: {fd}")
    return fd


def number_of(fileobj: FileDescriptorLike) -> int:
    """As ``fileno_of``, but -1 for what is closed."""
    try:
        return fileno_of(fileobj)
    except ValueError:
        return -1


def is_stale(key: SelectorKey) -> bool:
    """Whether the object in ``key`` was closed since, or has another descriptor now.

    A bare number cannot tell: it is taken to be still the same file.
    """
    if isinstance(key.fileobj, int):
        return False
    try:
        return fileno_of(key.fileobj) != key.fd
    except ValueError:
        return True


def any_stale(rows: list[tuple[SelectorKey, int]]) -> bool:
    """``is_stale`` of every row, for the hot path of backends that know numbers only."""
    try:
        for key, _ in rows:
            fileobj = key.fileobj
            if fileobj.__class__ is not int and fileobj.fileno() != key.fd:  # type: ignore[union-attr]
                return True
    except ValueError:
        return True
    return False


class SelectorMap(Mapping["FileDescriptorLike", SelectorKey]):
    """What ``get_map`` gives: a live, read-only view, looked up by file object or number."""

    __slots__ = ("_keys",)

    def __init__(self, keys: dict[int, SelectorKey]) -> None:
        self._keys = keys

    def __getitem__(self, fileobj: FileDescriptorLike) -> SelectorKey:
        return find(self._keys, fileobj)

    def get(self, fileobj: FileDescriptorLike, default: Any = None) -> Any:
        # asyncio asks by number, once per add_reader: Mapping.get would go through an exception.
        if fileobj.__class__ is int:
            return self._keys.get(fileobj, default)
        try:
            return find(self._keys, fileobj)
        except KeyError:
            return default

    def __contains__(self, fileobj: object) -> bool:
        try:
            find(self._keys, fileobj)  # type: ignore[arg-type]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}: {list(self._keys.values())!r}>"


def find(keys: dict[int, SelectorKey], fileobj: FileDescriptorLike) -> SelectorKey:
    """The key of a number or of an object, which may be closed by now.

    Raises KeyError for what is not registered, ValueError for what could not be.
    """
    try:
        fd = fileno_of(fileobj)
    except ValueError:
        # A closed object has lost its number: only its identity is left.
        for key in list(keys.values()):
            if key.fileobj is fileobj:
                return key
        raise
    if fd in keys:
        return keys[fd]
    raise KeyError(f"{fileobj!r} is not registered")
