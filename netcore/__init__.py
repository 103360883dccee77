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
from netcore.operations import (
    Accept,
    AcceptPipe,
    Connect,
    ConnectPipe,
    Operation,
    OperationCancelled,
    Overlapped,
    Poll,
    Post,
    Read,
    Recv,
    RecvFrom,
    RecvFromInto,
    RecvInto,
    Send,
    SendAll,
    SendFile,
    SendTo,
    WaitHandle,
    Write,
)

DefaultSelector = Selector

__all__ = [
    "Accept",
    "AcceptPipe",
    "Backend",
    "BaseSelector",
    "Connect",
    "ConnectPipe",
    "DefaultSelector",
    "EDGE",
    "EVENT_HANGUP",
    "EVENT_PRIORITY",
    "EVENT_READ",
    "EVENT_WRITE",
    "ONESHOT",
    "Operation",
    "OperationCancelled",
    "Overlapped",
    "Poll",
    "Post",
    "Read",
    "ReadinessBackend",
    "Recv",
    "RecvFrom",
    "RecvFromInto",
    "RecvInto",
    "Selector",
    "SelectorKey",
    "Send",
    "SendAll",
    "SendFile",
    "SendTo",
    "WaitHandle",
    "Write",
    "available_backends",
    "wait_for",
    *_names.__all__,
]
