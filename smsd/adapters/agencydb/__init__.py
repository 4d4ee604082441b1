"""The agencies' databases, read and never written."""
