"""Builders: each noun of the core in one line, with what a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from hashlib import blake2b
from zoneinfo import ZoneInfo

from smsd.core.model import Dossier, Mode, Tracked
from smsd.core.names import fold_name
from smsd.core.policy import AgencyPolicy, Notice, PositionRule

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
NOW = datetime(2026, 8, 3, 9, 0, tzinfo=ZONE).astimezone(UTC)
"""A Monday morning in Khánh Hòa."""
PHONE = "0905123456"

RESULT_TEXT = (
    "Thông báo: Hồ sơ của quý Ông/Bà ({Mã số hồ sơ}) đã được giải quyết xong. "
    "Mời Ông/Bà đến Bộ phận Một cửa {Tên cơ quan} để nhận kết quả"
)
SUPPLEMENT_TEXT = (
    "Thông báo: Hồ sơ của quý Ông/Bà ({Mã số hồ sơ}) cần bổ sung theo quy định. "
    "Mời Ông/Bà đến Bộ phận Một cửa {Tên cơ quan} để nhận thông báo"
)
APOLOGY_TEXT = (
    "Thông báo: Hồ sơ của quý Ông/Bà ({Mã số hồ sơ}) chưa có kết quả vào ngày {Ngày hẹn trả}. "
    "{Tên cơ quan} chân thành xin lỗi. Ông/Bà vui lòng đến nhận kết quả khi có tin nhắn tiếp theo"
)


class FixedClock:
    """A clock that shows what it was set to."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def forward(self, by: timedelta) -> datetime:
        self.at += by
        return self.at


def local(text: str) -> datetime:
    """The UTC instant of ``2026-08-03 17:30`` in Khánh Hòa."""
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(UTC)


def a_rule(
    name: str, steps: tuple[str, ...] | None = None, statuses: tuple[str, ...] | None = None
) -> PositionRule:
    return PositionRule(
        name,
        steps=frozenset(map(fold_name, steps)) if steps is not None else None,
        statuses=frozenset(map(fold_name, statuses)) if statuses is not None else None,
    )


POSITIONS = (
    a_rule("supplement", ("Tiếp nhận", "Trả kết quả"), ("Chờ bổ sung",)),
    a_rule("result_ready", ("Trả kết quả",)),
    a_rule("closed", ("Đã trả kết quả", "Kết thúc", "Đã rút")),
)


def notices() -> dict[str, Notice]:
    """The mission's three."""
    return {
        "supplement": Notice("supplement", SUPPLEMENT_TEXT, settle=timedelta(minutes=2)),
        "result_ready": Notice("result_ready", RESULT_TEXT, settle=timedelta(minutes=2)),
        "apology": Notice(
            "apology",
            APOLOGY_TEXT,
            valid_for=timedelta(hours=14),
            at=time(17, 30),
            until=time(20, 30),
            unless=frozenset({"result_ready", "closed"}),
        ),
    }


def a_policy(**changes: object) -> AgencyPolicy:
    own: Mapping[str, Notice] = notices()
    policy = AgencyPolicy(
        id="nha-trang", name="UBND TP Nha Trang", mode=Mode.LIVE, zone=ZONE, positions=POSITIONS, notices=own
    )
    return replace(policy, **changes)  # type: ignore[arg-type]


def a_dossier(code: str = "H32.12-260803-0001", **changes: object) -> Dossier:
    dossier = Dossier(
        code=code,
        step="Thẩm định",
        status="Đang xử lý",
        phone=PHONE,
        procedure_code="1.001",
        procedure_name="Đăng ký khai sinh",
        received_at=NOW - timedelta(days=5),
        due_at=NOW + timedelta(days=5),
    )
    return replace(dossier, **changes)  # type: ignore[arg-type]


def a_tracked(dossier: Dossier | None = None, position: str = "in_progress", **changes: object) -> Tracked:
    tracked = Tracked(dossier or a_dossier(), position, NOW - timedelta(days=1))
    return replace(tracked, **changes)  # type: ignore[arg-type]


def a_digest(*parts: object) -> int:
    """A row's fingerprint, as good as a reader's."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big", signed=True)
