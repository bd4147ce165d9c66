"""Conditions that every test starts from."""

import signal

# A shell starts background commands with Ctrl-C ignored, and processes inherit that; tests send it to themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)
