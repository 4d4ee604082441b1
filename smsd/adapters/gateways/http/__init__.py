"""Any HTTP provider: what its description (`config.http`) comes to on the wire, and how receipts return."""
