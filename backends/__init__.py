"""The backends: one kernel interface each, nothing of them imported before it is chosen."""
