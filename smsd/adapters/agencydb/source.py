"""What the configuration says of one agency's database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class AgencySource:
    """Where an agency's dossiers are read, and how long a whole read may take.

    ``url`` is a SQLAlchemy URL with its password (mssql+pyodbc, postgresql+psycopg2, sqlite). ``view`` is a name or
    ``schema.name``, without quotes. ``columns`` names the view's own columns where they differ from the contract's.
    ``filter`` asks for equality on the view's columns; a null asks for null.
    """

    agency: str
    url: str = field(repr=False)
    view: str
    columns: Mapping[str, str] = field(default_factory=dict)
    filter: Mapping[str, object] = field(default_factory=dict)
    timeout: timedelta = timedelta(seconds=30)
