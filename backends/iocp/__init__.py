"""The Windows backend: a completion port, with readiness by AFD polls submitted to it."""
