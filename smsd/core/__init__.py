"""The pure core: state in, transitions and messages out.

Imports nothing but the standard library; no I/O, no clock, no logging. Everything else imports it.
"""
