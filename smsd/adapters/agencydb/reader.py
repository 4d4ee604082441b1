"""Reading one agency's view: the port `AgencyReader` over any kind of database.

One connection at a time, opened when it is needed and kept while all goes well. Only SELECT statements are sent.
What is special to a kind of database stands in its own module; what rows mean, in the core.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from smsd.adapters.agencydb.check import SAMPLE, columns_result, login_result, sample_result
from smsd.adapters.agencydb.database import Database
from smsd.adapters.agencydb.faults import (
    DRIVER_MISSING,
    TIMEOUT,
    UNREACHABLE,
    Place,
    fault,
)
from smsd.adapters.agencydb.look import Ground, SqlLook
from smsd.adapters.agencydb.postgreslook import PostgresLook
from smsd.adapters.agencydb.postgresql import Postgres
from smsd.adapters.agencydb.query import ViewColumns, probe, quoted_view, select
from smsd.adapters.agencydb.source import AgencySource
from smsd.adapters.agencydb.sqlite import Sqlite
from smsd.adapters.agencydb.sqlserver import SqlServer
from smsd.adapters.agencydb.sqlserverlook import SqlServerLook
from smsd.adapters.agencydb.work import BLOCK_ROWS, End, Ended, Link, Work
from smsd.core.errors import AgencyError
from smsd.services.ports import VIEW_COLUMNS, AgencyLook, AgencyReader, CheckResult, RawRow

__all__ = ["AgencySource", "open_reader"]

_KINDS: dict[str, type[Database]] = {"postgresql": Postgres, "sqlite": Sqlite, "mssql": SqlServer}
_LOOKS: dict[type[Database], type[SqlLook]] = {Postgres: PostgresLook, SqlServer: SqlServerLook}
_T = TypeVar("_T")


def open_reader(source: AgencySource) -> AgencyReader:
    """A reader of the agency's view. Connects to nothing and raises nothing; the first read does."""
    return SqlReader(source)


class SqlReader:
    """Reads a view with one SELECT, in blocks."""

    def __init__(self, source: AgencySource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._work: Work | None = None
        self._link: Link | None = None
        self._found: ViewColumns | None = None
        self._database_: Database | None = None

    def rows(self, columns: Sequence[str] = VIEW_COLUMNS) -> Iterator[list[RawRow]]:
        """Stream the view; see the port. An unfinished read is ended by the next one."""
        with self._working() as work:
            blocks = self._fresh_if_stale(work, lambda link: self._begin(link, columns, BLOCK_ROWS))
            for block in blocks:
                work.go_on()
                yield block
                del block
                work.go_on()
            self._rest()

    @contextmanager
    def look(self) -> Iterator[AgencyLook]:
        """One look at the view; see the port. An unfinished read is ended by it."""
        with self._working(translating=False) as work:
            found = self._fresh_if_stale(work, self._probe)
            found.require(VIEW_COLUMNS)
            link, database = self._connected(work), self._database()
            yield _LOOKS.get(type(database), SqlLook)(Ground(work, link, database, self._source, found))
            work.go_on()
            self._rest()

    def has_column(self, column: str) -> bool:
        """Whether the view has a contract column, under whatever name."""
        found = self._found
        if found is None:
            with self._working() as work:
                found = self._fresh_if_stale(work, self._probe)
                self._rest()
        return found.of(column) is not None

    def check(self) -> list[CheckResult]:
        """Look at everything a read needs, step by step, up to the first that fails."""
        results: list[CheckResult] = []
        step = "connection"
        try:
            database = self._database()
            with self._working() as work:
                self._connected(work)
                results.append(CheckResult(step, "ok", database.place.where))
                step = "view"
                found = self._fresh_if_stale(work, self._probe)
                results.append(CheckResult(step, "ok", self._source.view))
                step = "columns"
                found.require(VIEW_COLUMNS)
                results.append(columns_result(found))
                step = "read-only"
                link = self._connected(work)
                view = quoted_view(self._source, database.syntax, database.place)
                results.append(login_result(database.write_rights(link, view), database.protection()))
                step = "rows"
                sample = next(self._begin(link, VIEW_COLUMNS, SAMPLE), [])
                results.append(sample_result(sample))
        except AgencyError as error:
            results.append(CheckResult(step, "failed", error.message, error.hint))
        finally:
            self._drop()
        return results

    def cancel(self) -> None:
        """End the read under way, if any."""
        self._stop(End.CANCELLED)

    def close(self) -> None:
        """Let go of the connection; a read under way fails soon."""
        self._stop(End.CLOSED)
        self._drop()

    # one piece of work at a time

    @contextmanager
    def _working(self, *, translating: bool = True) -> Iterator[Work]:
        """Around a read: its deadline, and every error in our words. After any of them the connection is dropped.

        ``translating``: errors that drivers raise in it; a look does that itself, so as to leave the caller's alone.
        """
        work = Work(self._source.timeout.total_seconds())
        with self._lock:
            before, self._work = self._work, work
        if before is not None:
            before.stop(End.OVERTAKEN)
            self._drop()
        whole = False
        try:
            yield work
            whole = True
        except Ended as ended:
            raise self._told(work.end or ended.end, connecting=ended.connecting) from None
        except self._faults(translating) as error:
            if work.end is not None:  # what a driver says of an interrupted read is not the cause
                raise self._told(work.end, connecting=self._link is None) from None
            if isinstance(error, AgencyError):
                raise
            raise self._database().translate(error) from None
        finally:
            work.done()
            with self._lock:
                current = self._work is work
                if current:
                    self._work = None
            if current and not whole:
                self._drop()

    def _stop(self, end: End) -> None:
        with self._lock:
            work = self._work
        if work is not None:
            work.stop(end)

    def _told(self, end: End, *, connecting: bool = False) -> AgencyError:
        place = self._place()
        if end is End.DEADLINE:
            seconds = f"no answer within {self._source.timeout.total_seconds():g} s"
            return fault(UNREACHABLE if connecting else TIMEOUT, place, seconds)
        return AgencyError(
            f"the read of {place.where} was ended ({end.value})",
            code=TIMEOUT,
            hint="it is tried again by itself",
        )

    # the connection

    def _database(self) -> Database:
        """The database the URL means. Raises `AgencyError` for one that means none."""
        if self._database_ is None:
            try:
                url = make_url(self._source.url)
            except (ArgumentError, ValueError):
                raise fault(
                    DRIVER_MISSING,
                    self._place(),
                    "its URL cannot be read",
                    hint="write `database` as a SQLAlchemy URL; : / @ in a password as %3A %2F %40",
                ) from None
            kind = _KINDS.get(url.get_backend_name())
            if kind is None:
                raise fault(
                    DRIVER_MISSING,
                    self._place(),
                    f"{url.get_backend_name()} is not known",
                    hint="accepted: mssql+pyodbc, postgresql+psycopg2, sqlite",
                )
            self._database_ = kind(url, self._source.view)
        return self._database_

    def _faults(self, translating: bool) -> tuple[type[Exception], ...]:
        if not translating or self._database_ is None:
            return (AgencyError,)
        return (AgencyError, *self._database_.errors())

    def _place(self) -> Place:
        if self._database_ is None:
            return Place(f"the database of {self._source.agency}", "the login", self._source.view)
        return self._database_.place

    def _connected(self, work: Work) -> Link:
        """The kept connection, or a new one."""
        link = self._link
        if link is not None:
            work.use(link)
            return link
        link = work.connect(self._database().connect)
        with self._lock:
            wanted = self._work is work
            if wanted:
                self._link = link
        if not wanted:
            link.close()
            raise Ended(End.OVERTAKEN)
        return link

    def _drop(self) -> None:
        with self._lock:
            link, self._link = self._link, None
            self._found = None
        if link is not None:
            link.close()

    def _rest(self) -> None:
        """After a whole read: keep the connection if that is worth while."""
        link = self._link
        if link is None:
            return
        database, found = self._database(), self._found
        try:
            if database.keeps:
                link.rest()
                return
        except database.errors():
            pass  # all rows are read; the next read finds a new connection
        self._drop()
        self._found = found

    def _fresh_if_stale(self, work: Work, ask: Callable[[Link], _T]) -> _T:
        """Ask on the kept connection; if it went bad since the last read, on a new one."""
        kept = self._link is not None
        try:
            return self._asked(work, ask)
        except AgencyError as error:
            if not kept or work.end is not None or error.code == TIMEOUT:
                raise
        self._drop()
        return self._asked(work, ask)

    def _asked(self, work: Work, ask: Callable[[Link], _T]) -> _T:
        database = self._database()
        link = self._connected(work)
        try:
            link.begin(work.seconds)
            return ask(link)
        except database.errors() as error:
            work.go_on()
            raise database.translate(error) from None

    # the questions

    def _probe(self, link: Link) -> ViewColumns:
        """Ask for the view's columns."""
        database = self._database()
        view = quoted_view(self._source, database.syntax, database.place)
        names, _ = link.ask(probe(view, database.syntax), [])
        self._found = ViewColumns(names, self._source, database.place)
        return self._found

    def _begin(self, link: Link, columns: Sequence[str], size: int) -> Iterator[list[RawRow]]:
        """Begin a read; the columns are asked for each time, since views change under a kept connection."""
        found = self._probe(link)
        database = self._database()
        view = quoted_view(self._source, database.syntax, database.place)
        sql, values = select(columns, view, found, self._source.filter, database.syntax)
        blocks = link.stream(sql, values, size)
        return _chained(next(blocks, []), blocks)


def _chained(first: list[RawRow], rest: Iterator[list[RawRow]]) -> Iterator[list[RawRow]]:
    if first:
        yield first
        del first
        yield from rest
