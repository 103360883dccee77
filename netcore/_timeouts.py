"""Timeouts: what a caller may pass, and how long the kernel may be told to wait at once."""

from __future__ import annotations

from math import inf, isnan
from typing import Final

#: The longest single wait, in seconds: milliseconds have to fit a C int (epoll_wait(2), poll(2)),
#: with room for rounding up. A longer wait is made of several.
LONGEST: Final = float(2**31 // 1000 - 1)


def seconds(timeout: float) -> float:
    """``timeout`` as a float >= 0; what is negative has already passed.

    Raises TypeError for what is no number and ValueError for NaN.
    """
    try:
        number = timeout + 0.0  # Also takes a Fraction or a NumPy scalar, which select.* refuse.
    except TypeError:
        raise TypeError(f"timeout must be a number of seconds or None, not {timeout!r}") from None
    except OverflowError:  # An int beyond all floats.
        return inf if timeout > 0 else 0.0
    if number > 0:
        return number
    if isnan(number):
        raise ValueError("timeout must not be NaN")
    return 0.0


def milliseconds(timeout: float | None) -> int:
    """``timeout`` for poll(2): rounded up, so that no wait is cut short; -1 is for ever."""
    if timeout is None:
        return -1
    exact = timeout * 1000.0
    whole = int(exact)
    return whole if whole == exact else whole + 1
