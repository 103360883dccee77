"""Gives Linux a kqueue, simulated, so that its backend is held to every rule here too.

NETCORE_TEST_KQUEUE says whose: "macos" (the default), "freebsd", or "none".
"""

from __future__ import annotations

import os
import select
import sys

_flavour = os.environ.get("NETCORE_TEST_KQUEUE", "macos")
if sys.platform == "linux" and not hasattr(select, "kqueue") and _flavour != "none":
    import kqueue_simulator

    kqueue_simulator.install(_flavour)
