"""The class names of the stdlib's ``selectors``, each where the stdlib has it."""

from __future__ import annotations

import select

from netcore._selector import Selector


class SelectSelector(Selector):
    """``Selector("select")``."""

    def __init__(self) -> None:
        super().__init__("select")


__all__ = ["SelectSelector"]

if hasattr(select, "poll"):

    class PollSelector(Selector):
        """``Selector("poll")``."""

        def __init__(self) -> None:
            super().__init__("poll")

    __all__ += ["PollSelector"]

if hasattr(select, "epoll"):

    class EpollSelector(Selector):
        """``Selector("epoll")``."""

        def __init__(self) -> None:
            super().__init__("epoll")

    __all__ += ["EpollSelector"]

if hasattr(select, "kqueue"):

    class KqueueSelector(Selector):
        """``Selector("kqueue")``."""

        def __init__(self) -> None:
            super().__init__("kqueue")

    __all__ += ["KqueueSelector"]
