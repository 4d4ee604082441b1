"""What every kind of agency database has to provide, and which kind a URL means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from sqlalchemy.engine import URL

from smsd.adapters.agencydb.faults import DRIVER_MISSING, READ_FAILED, Place, fault, scrub
from smsd.adapters.agencydb.query import Syntax
from smsd.adapters.agencydb.work import Link
from smsd.core.errors import AgencyError


class Database(ABC):
    """One database of one kind. Making it connects to nothing."""

    drivername: str
    """SQLAlchemy's name of the driver, whatever else the URL may name."""
    syntax: Syntax
    keeps: bool = True
    """Whether a connection is worth keeping between reads."""

    def __init__(self, url: URL, view: str) -> None:
        self.url = url.set(drivername=self.drivername)
        self._driver_error: type[Exception] = ValueError  # until there is a driver
        self.place = Place(self._where(), url.username or "the login", view, self._secrets())

    def _where(self) -> str:
        """Server, port and database. A host with an @ is a password that was not quoted, and is not shown."""
        host = self.url.host or ""
        host = "…" if "@" in host else host
        port = f":{self.url.port}" if self.url.port else ""
        return f"{host}{port}/{self.url.database or ''}"

    def _secrets(self) -> tuple[str, ...]:
        password = self.url.password
        if password is None:
            return ()
        return str(password), quote(str(password), safe="")

    def connect(self, seconds: float) -> Link:
        """A connection that can only read, for reads of at most ``seconds``. Raises `AgencyError`."""
        try:
            dialect: Any = self.url.get_dialect()
            driver: Any = dialect.import_dbapi()
        except ImportError as error:
            raise fault(DRIVER_MISSING, self.place, scrub(str(error), self.place)) from None
        self._driver_error = driver.Error
        try:
            positional, named = dialect(dbapi=driver).create_connect_args(self.url)
            return self.open(driver, positional, named, seconds)
        except self.errors() as error:
            raise self.translate(error, connecting=True) from None

    def errors(self) -> tuple[type[Exception], ...]:
        """What the driver raises when a read fails; values it cannot turn into Python's among it."""
        return self._driver_error, ValueError, ArithmeticError

    def translate(self, error: Exception, *, connecting: bool = False) -> AgencyError:
        """A driver's error as ours."""
        code, hint, data = self.explain(error, connecting=connecting)
        said = scrub(
            self.words(error), self.place, data=data or isinstance(error, (ValueError, ArithmeticError))
        )
        return fault(code or READ_FAILED, self.place, said, hint=hint)

    def words(self, error: Exception) -> str:
        """What the driver said."""
        return str(error)

    @abstractmethod
    def open(
        self, driver: Any, positional: Sequence[Any], named: Mapping[str, Any], seconds: float, /
    ) -> Link:
        """Connect with the driver's own arguments."""

    @abstractmethod
    def explain(self, error: Exception, *, connecting: bool) -> tuple[str | None, str, bool]:
        """Code (None: unknown), hint ("": the usual one), and whether the driver's words may hold a row's data."""

    @abstractmethod
    def write_rights(self, link: Link, view: str, /) -> list[str]:
        """What the login could change, each as what follows "it can". ``view`` is quoted."""

    def protection(self) -> str:
        """How reads are kept from writing, for `smsd check`."""
        return "the login can only read, and sessions are opened read-only"
