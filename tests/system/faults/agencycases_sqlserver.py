"""SQL Server agencies in trouble, through the real driver: a responder each, behind a wire."""

from __future__ import annotations

from datetime import datetime

from smsd.core.rows import VIEW_COLUMNS
from tests.contract.test_agencydb_sqlserver import a_driver
from tests.support.agencyviews import COLUMNS
from tests.support.tdsserver import Answer, Refusal, Rows, Silence, TdsServer
from tests.system.daemonoffice import READY, WORK, Office
from tests.system.faults.agencytrouble import DOSSIERS, Case
from tests.system.faults.agencywire import Wire

MANY = 800
MIDDLE = 60_000
_KINDS = {name: "datetime" if name.endswith("_at") else "text" for name in COLUMNS}


class SqlServer(Case):
    """An agency whose server answers what it holds, or what it is told to."""

    rows = DOSSIERS

    def settle_in(self, office: Office) -> None:
        self.steps = {f"{self.id}-{number}": WORK for number in range(self.rows)}
        self.instead: Answer | None = None
        self.server = TdsServer(self._answer)
        self.wire = Wire(self.server.port)
        where = f"127.0.0.1:{self.wire.port}/MotCua?driver={a_driver()}"
        office.agency(
            self.id, database=f"mssql+pyodbc://smsd:s3cret-of-mssql@{where}", view="dbo.smsd_dossiers"
        )

    def _answer(self, statement: str) -> Answer:
        if self.instead is not None:
            return self.instead
        return self.all_rows(COLUMNS if "1 = 0" in statement else VIEW_COLUMNS, probe="1 = 0" in statement)

    def all_rows(self, names: tuple[str, ...] = VIEW_COLUMNS, *, probe: bool = False) -> Rows:
        """What the view holds."""
        kept = {
            "phone": "0905123456",
            "procedure_code": "1.001",
            "procedure_name": "x" * 40,
            "received_at": datetime.fromisoformat("2026-08-03 09:00"),
            "due_at": datetime.fromisoformat("2099-08-05 17:00"),
        }
        rows = [
            [kept.get(name, {"dossier_code": code, "step": step}.get(name)) for name in names]
            for code, step in self.steps.items()
        ]
        return Rows([(name, _KINDS[name]) for name in names], [] if probe else rows)

    def mend(self) -> None:
        self.instead = None

    def work(self, code: str) -> None:
        self.steps[code] = READY

    def close(self) -> None:
        self.wire.close()
        self.server.close()


class Silent(SqlServer):
    """The server hears no cancel either, and what hangs once hangs for ever."""

    id, fault = "mssql-silent", "SQL Server hangs in the middle of a result and heeds no cancel"
    codes, says = frozenset({"timeout"}), ("not over within 2 s", "look for locks and load")

    def spoil(self) -> None:
        self.server.heeds_cancels = False
        self.instead = Silence(self.all_rows())


class Cut(SqlServer):
    rows = MANY
    id, fault = "mssql-cut", "network to SQL Server stops forwarding in the middle of a row"
    codes, says = frozenset({"timeout"}), ("not over within 2 s",)
    how = "silent"

    def spoil(self) -> None:
        self.wire.spoil(self.how, MIDDLE + 1)

    def mend(self) -> None:
        self.wire.mend()


class HungUp(Cut):
    id, fault, how = "mssql-hung-up", "SQL Server closes the connection in the middle of a row", "half"
    codes, says = frozenset({"unreachable"}), ("cannot be reached",)


class Reset(HungUp):
    id, fault, how = "mssql-reset", "connection to SQL Server reset in the middle of a row", "reset"
    codes, says = frozenset({"unreachable", "read_failed"}), ()


class Deaf(Cut):
    id, fault, how = "mssql-deaf", "SQL Server takes connections and never answers", "deaf"
    codes, says = frozenset({"unreachable", "timeout"}), ("within 2 s",)


class LoginRefused(SqlServer):
    id, fault = "mssql-login", "SQL Server refuses the login (18456)"
    codes, says = frozenset({"login_failed"}), ("refuses the login of smsd", "check user and password")
    person = "user or password is put right"

    def spoil(self) -> None:
        self.server.login = Refusal(18456, "Login failed for user 'smsd'.")
        self.server.hang_up()

    def mend(self) -> None:
        self.server.login = None


class ViewMissing(SqlServer):
    id, fault = "mssql-view", "view missing in SQL Server (208)"
    codes, says = frozenset({"view_missing"}), ("Invalid object name", "sql/ has the view to make")
    person = "the agency makes the view again"

    def spoil(self) -> None:
        self.instead = Refusal(208, "Invalid object name 'dbo.smsd_dossiers'.")


class Denied(SqlServer):
    id, fault = "mssql-denied", "permission to read the view denied by SQL Server (229)"
    codes, says = (
        frozenset({"permission_denied"}),
        ("may not read dbo.smsd_dossiers", "grant SELECT on the view"),
    )
    person = "the agency grants it again"

    def spoil(self) -> None:
        self.instead = Refusal(229, "The SELECT permission was denied on the object 'smsd_dossiers'.")


class Deadlocked(SqlServer):
    id, fault = "mssql-deadlock", "read chosen as the victim of a deadlock (1205)"
    codes, says = frozenset({"read_failed"}), ("deadlock victim",)

    def spoil(self) -> None:
        self.instead = Refusal(1205, "Transaction was chosen as the deadlock victim. Rerun it.")


SQLSERVER: tuple[type[SqlServer], ...] = (
    Silent, Cut, HungUp, Reset, Deaf, LoginRefused, ViewMissing, Denied, Deadlocked,
)  # fmt: skip
