"""One Selector-like API, everywhere.

``import netcore as selectors`` works for what the stdlib's selectors offer.
"""

from selectors import BaseSelector, SelectorKey

from netcore import _names
from netcore._loader import available_backends
from netcore._names import *  # noqa: F403  # Which names there are depends on the OS.
from netcore._selector import Selector
from netcore._single import wait_for
from netcore.contract import (
    EDGE,
    EVENT_HANGUP,
    EVENT_PRIORITY,
    EVENT_READ,
    EVENT_WRITE,
    ONESHOT,
    Backend,
    ReadinessBackend,
)

DefaultSelector = Selector

__all__ = [
    "EDGE",
    "EVENT_HANGUP",
    "EVENT_PRIORITY",
    "EVENT_READ",
    "EVENT_WRITE",
    "ONESHOT",
    "Backend",
    "BaseSelector",
    "DefaultSelector",
    "ReadinessBackend",
    "Selector",
    "SelectorKey",
    "available_backends",
    "wait_for",
    *_names.__all__,
]
