"""Debian's Kannel between smsd and an operator's message centre, all of them real processes on loopback."""
