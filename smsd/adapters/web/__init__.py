"""The inbound listener: receipts, look-ups, metrics, health."""
