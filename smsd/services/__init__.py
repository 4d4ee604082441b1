"""What smsd does, step by step: polling, delivery, look-ups, reports. Ports are Protocols; `now` is passed in."""
