"""What a running daemon leaves in the store about itself, for `smsd status`."""

DAEMON_FACT = "daemon"
"""The key of the fact: pid, version and when the loop last turned, as JSON."""

SIGN_OF_LIFE = 30
"""Seconds between two signs of life."""
