"""The outside world behind the ports: state store, agency databases, gateways, HTTP, report files."""
