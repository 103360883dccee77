"""Finds backends: the built-in ones, those of installed packages, and any class by its path."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from netcore._drivers import readiness_over
from netcore.contract import Backend, CompletionBackend, ReadinessBackend

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
    path = BUILT_IN.get(name)
    if path is None:
        installed = _installed()
        path = name if ":" in name else installed[name].value if name in installed else None
    if path is None:
        known = [*BUILT_IN, *_installed()]
        available = available_backends()
        others = ", ".join(
            f"{other} ({reason})" for other in known if (reason := why_not(other)) is not None
        )
        raise ValueError(
            f"unknown backend {name!r}; available: {', '.join(available)}; not available here: "
            f"{others or 'none'}"
        )
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"cannot load the backend {name!r}: {error}") from error


def available_backends() -> list[str]:
    """The names of the backends that can run here, best first; opens nothing."""
    return [name for name in known_backends() if why_not(name) is None]


def known_backends() -> list[str]:
    """Every name that could be asked for: the built-in backends, then the installed ones."""
    return [*BUILT_IN, *(name for name in _installed() if name not in BUILT_IN)]


def why_not(name: str) -> str | None:
    """Why a known backend cannot run here, or None if it can."""
    try:
        backend = find(name)
        if not issubclass(backend, Backend):
            return f"not a netcore backend: {backend!r}"
        return None if backend.available() else f"needs {backend.needs or 'another OS'}"
    except Exception as error:  # Another package's code: it must not take ours down.
        return f"{type(error).__name__}: {error}"


def backends_with(events: int) -> list[str]:
    """The available backends that can watch all of ``events``."""
    return [name for name in available_backends() if not events & ~find(name).supports]


def _installed() -> dict[str, EntryPoint]:
    """The entry points of other packages, by name."""
    if sys.version_info >= (3, 10):
        return {point.name: point for point in entry_points(group=GROUP)}
    return {point.name: point for point in entry_points().get(GROUP, ())}
