"""Finds backends: the built-in ones, those of installed packages, and any class by its path."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from inspect import isabstract
from typing import TYPE_CHECKING, Any, Final

from netcore._drivers import readiness_over
from netcore.contract import Backend, CompletionBackend, ReadinessBackend, event_names

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: Best first.
BUILT_IN: Final = {
    "epoll": "netcore.backends.epoll:Epoll",
    "kqueue": "netcore.backends.kqueue:Kqueue",
    "iocp": "netcore.backends.iocp._backend:Iocp",
    "poll": "netcore.backends.poll:Poll",
    "select": "netcore.backends.select:Select",
}
GROUP: Final = "netcore.backends"
VARIABLE: Final = "NETCORE_BACKEND"


def load(backend: str | type[Backend] | None = None) -> type[ReadinessBackend]:
    """The class of a backend that can run here; of a completion backend, readiness over it.

    Raises ValueError for one that is unknown or cannot, TypeError for what is no backend at all.
    """
    if backend is None:
        backend = os.environ.get(VARIABLE) or next(n for n in BUILT_IN if why_not(n) is None)
    asked = backend if isinstance(backend, type) else find(backend)
    if not isinstance(asked, type):
        raise TypeError(f"not a netcore backend: {asked!r}")
    found: type[Any] = readiness_over(asked) if issubclass(asked, CompletionBackend) else asked
    if not issubclass(found, ReadinessBackend):
        raise TypeError(f"not a netcore backend: {found!r}")
    if not found.available():
        raise ValueError(
            f"the backend {backend!r} is not available here, it needs {found.needs or 'another OS'}"
            f"; available: {', '.join(available_backends())}"
        )
    return found


def find(name: str) -> Any:
    """The object that a name or ``"module:Class"`` stands for, available or not."""
    if not isinstance(name, str):
        raise TypeError(f"a backend is a name or a class, not {name!r}")
    try:
        return _locate(name)
    except KeyError:
        raise ValueError(f"unknown backend {name!r}; {_choice()}") from None
    except Exception as error:  # Another package's code, which may raise anything.
        raise ValueError(
            f"cannot load the backend {name!r}: {type(error).__name__}: {error}; {_choice()}"
        ) from error


def _locate(name: str) -> Any:
    """As ``find``, with whatever error an import gives; KeyError for an unknown name."""
    if name in BUILT_IN or ":" in name:
        module, _, attribute = BUILT_IN.get(name, name).partition(":")
        return getattr(import_module(module), attribute)
    return _installed()[name].load()


def _choice() -> str:
    """What there is to choose from, for error messages."""
    others = [f"{name} ({reason})" for name in BUILT_IN if (reason := why_not(name)) is not None]
    return (
        f"available: {', '.join(available_backends())};"
        f" not available here: {', '.join(others) or 'none'}"
    )


def available_backends() -> list[str]:
    """The names of the backends that can run here, best first; opens nothing."""
    return [name for name in known_backends() if why_not(name) is None]


def known_backends() -> list[str]:
    """Every name that could be asked for: the built-in backends, then the installed ones."""
    return [*BUILT_IN, *(name for name in _installed() if name not in BUILT_IN)]


def why_not(name: str) -> str | None:
    """Why a known backend cannot run here, or None if it can."""
    try:
        backend = _locate(name)
        if not isinstance(backend, type) or not issubclass(backend, Backend):
            return f"not a netcore backend: {backend!r}"
        if isabstract(backend):
            return f"not finished, it lacks: {', '.join(sorted(backend.__abstractmethods__))}"
        return None if backend.available() else f"needs {backend.needs or 'another OS'}"
    except Exception as error:  # Another package's code: it must not take ours down.
        return f"{type(error).__name__}: {error}"


def backends_with(events: int) -> list[str]:
    """The available backends that can watch all of ``events``."""
    return [name for name in available_backends() if not events & ~find(name).supports]


def cannot_watch(name: str, events: int) -> ValueError:
    """The refusal of the backend ``name``, which does not support ``events``."""
    others = ", ".join(backends_with(events)) or "none"
    return ValueError(
        f"the {name} backend cannot watch {event_names(events)} (available here that can: {others})"
    )


def _installed() -> dict[str, EntryPoint]:
    """The entry points of other packages, by name."""
    from importlib.metadata import entry_points  # Takes longer to import than all of netcore.

    if sys.version_info >= (3, 10):
        return {point.name: point for point in entry_points(group=GROUP)}
    return {point.name: point for point in entry_points().get(GROUP, ())}
