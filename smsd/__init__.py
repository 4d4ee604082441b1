"""smsd: texts citizens about their administrative dossiers."""

__version__ = "0.1.0"
