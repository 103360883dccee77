"""Tells every selector of a forked child that it is one.

A child shares the parent's epoll set: what it adds or removes there, the parent loses or gets. A
kqueue is not inherited at all: its number is free, or somebody else's (kqueue(2)).
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakValueDictionary


class Forked(Protocol):
    def _after_fork(self) -> None: ...


# By identity: a subclass may be unhashable.
_selectors: WeakValueDictionary[int, Forked] = WeakValueDictionary()


def remember(selector: Forked) -> None:
    """Have ``_after_fork`` called in every child."""
    _selectors[id(selector)] = selector


def _in_child() -> None:
    for selector in list(_selectors.values()):
        selector._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
