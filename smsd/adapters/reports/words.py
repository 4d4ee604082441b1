"""The reports' words in Vietnamese and English: headers of the files, and the names of kinds and reasons on the page.

Values in the files stay the keys of the contract, so that scripts work in either language.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from smsd.core.figures import EXCEPTION_COLUMNS, Ending
from smsd.core.lookups import LookupOutcome, Road
from smsd.core.model import (
    APOLOGY,
    RESULT_READY,
    SUPPLEMENT,
    FindingKind,
    MessageState,
    Reason,
)

LANGUAGES = ("vi", "en")
MADE = "made"

_VI_COLUMNS = {
    "date": "Ngày",
    "agency": "Mã cơ quan",
    "agency_name": "Tên cơ quan",
    "procedure_code": "Mã thủ tục",
    "procedure_name": "Tên thủ tục",
    "received": "Hồ sơ tiếp nhận",
    "resolved": "Hồ sơ có kết quả",
    "due_tomorrow": "Hồ sơ hẹn trả ngày hôm sau",
    Reason.NO_PHONE.value: "Không có số điện thoại",
    Reason.LANDLINE.value: "Số máy cố định",
    Reason.INVALID_PHONE.value: "Số không hợp lệ",
    Reason.AMBIGUOUS_PHONE.value: "Số không rõ di động hay cố định",
    Reason.SAME_DAY.value: "Hồ sơ trong ngày",
    "unexplained": "Có kết quả nhưng không có tin nhắn",
    "lookups": "Lượt tra cứu",
    "segments": "Số đoạn tin tính phí",
    "cost": "Chi phí (đồng)",
    "dossier_code": "Mã hồ sơ",
    "kind": "Loại tin",
    "reason": "Lý do",
    "phone": "Số điện thoại (đã che)",
    "at": "Thời điểm",
}

_VI_KINDS = {
    RESULT_READY: "Báo có kết quả",
    SUPPLEMENT: "Báo bổ sung",
    APOLOGY: "Xin lỗi trễ hẹn",
}
_EN_KINDS = {
    RESULT_READY: "Result ready",
    SUPPLEMENT: "Supplement needed",
    APOLOGY: "Apology",
}

_VI_ENDINGS = {
    MADE: "đã lập",
    Ending.DELIVERED.value: "đã đến máy",
    Ending.ACCEPTED.value: "cổng đã nhận (chưa có báo phát)",
    Ending.FAILED.value: "gửi không được",
    Ending.SUPPRESSED.value: "không gửi (có lý do)",
    Ending.SUPERSEDED.value: "không còn cần gửi",
    Ending.PENDING.value: "đang chờ",
}
_EN_ENDINGS = {
    MADE: "made",
    Ending.DELIVERED.value: "delivered to the phone",
    Ending.ACCEPTED.value: "accepted by the gateway (no receipt)",
    Ending.FAILED.value: "failed",
    Ending.SUPPRESSED.value: "suppressed (with a reason)",
    Ending.SUPERSEDED.value: "no longer needed",
    Ending.PENDING.value: "pending",
}

_VI_REASONS = {
    MessageState.UNDELIVERED.value: "Nhà mạng không chuyển được",
    MessageState.REJECTED.value: "Cổng tin nhắn từ chối",
    MessageState.EXPIRED.value: "Hết hạn trước khi gửi được",
    Reason.OFF.value: "Cơ quan đang tắt",
    Reason.PROCEDURE.value: "Thủ tục không nhắn tin",
    Reason.SAME_DAY.value: "Hồ sơ nhận và trả trong ngày",
    Reason.STALE.value: "Kết quả đã có từ lâu",
    Reason.REPEAT.value: "Vừa nhắn cùng nội dung",
    Reason.NO_PHONE.value: "Không có số điện thoại",
    Reason.LANDLINE.value: "Số máy cố định",
    Reason.INVALID_PHONE.value: "Số không hợp lệ",
    Reason.AMBIGUOUS_PHONE.value: "Số không rõ di động hay cố định",
    Reason.SHADOW.value: "Cơ quan đang chạy thử",
    Reason.DISCARDED.value: "Người vận hành đã hủy lô tin",
    FindingKind.UNEXPLAINED.value: "Có kết quả nhưng không có tin nhắn",
    FindingKind.NO_APOLOGY.value: "Chưa gửi được tin xin lỗi",
    FindingKind.BOUNCED.value: "Rời bước trả kết quả sau khi đã nhắn",
    FindingKind.BAD_ROW.value: "Dòng dữ liệu hỏng",
    FindingKind.BAD_DATE.value: "Ngày giờ không thể có",
}
_EN_REASONS = {
    MessageState.UNDELIVERED.value: "Network could not deliver",
    MessageState.REJECTED.value: "Gateway refused",
    MessageState.EXPIRED.value: "Expired before it could leave",
    Reason.OFF.value: "Agency is off",
    Reason.PROCEDURE.value: "Procedure is never texted",
    Reason.SAME_DAY.value: "Received and resolved on one day",
    Reason.STALE.value: "Result is old",
    Reason.REPEAT.value: "Same notice just sent",
    Reason.NO_PHONE.value: "No phone number",
    Reason.LANDLINE.value: "Landline",
    Reason.INVALID_PHONE.value: "Invalid number",
    Reason.AMBIGUOUS_PHONE.value: "Mobile or old landline",
    Reason.SHADOW.value: "Agency on trial (shadow)",
    Reason.DISCARDED.value: "Batch discarded by an operator",
    FindingKind.UNEXPLAINED.value: "Resolved, but no message was made",
    FindingKind.NO_APOLOGY.value: "Apology could not be made",
    FindingKind.BOUNCED.value: "Left the result step after its message",
    FindingKind.BAD_ROW.value: "Bad row",
    FindingKind.BAD_DATE.value: "Impossible date",
}


_VI_ROADS = {
    Road.PLAIN.value: "Gọi trực tiếp (Kannel)",
    Road.SMPP.value: "Tổng đài SMPP",
    Road.ONEPAY.value: "1Pay",
    Road.ESMS.value: "eSMS",
}
_EN_ROADS = {
    Road.PLAIN.value: "Plain calls (Kannel)",
    Road.SMPP.value: "SMPP",
    Road.ONEPAY.value: "1Pay",
    Road.ESMS.value: "eSMS",
}

_VI_OUTCOMES = {
    LookupOutcome.FOUND: "Tìm thấy",
    LookupOutcome.NOT_FOUND: "Không tìm thấy",
    LookupOutcome.WRONG_SYNTAX: "Sai cú pháp",
    LookupOutcome.TOO_MANY: "Quá nhiều lần",
}
_EN_OUTCOMES = {
    LookupOutcome.FOUND: "Found",
    LookupOutcome.NOT_FOUND: "Not found",
    LookupOutcome.WRONG_SYNTAX: "Wrong syntax",
    LookupOutcome.TOO_MANY: "Too many",
}


def reconciliation_header(language: str, columns: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """The header of reconciliation.csv; a column without a translation keeps its key."""
    if language == "en":
        return list(columns)
    names = dict(_VI_COLUMNS)
    for kind in kinds:
        for ending, words in _VI_ENDINGS.items():
            names[f"{kind}_{ending}"] = f"{kind_name(language, kind)} – {words}"
    return [names.get(column, column) for column in columns]


def exceptions_header(language: str) -> list[str]:
    """The header of exceptions.csv."""
    if language == "en":
        return list(EXCEPTION_COLUMNS)
    return [_VI_COLUMNS[column] for column in EXCEPTION_COLUMNS]


def kind_name(language: str, kind: str) -> str:
    """A notice's name for people; one of the operators' own keeps theirs."""
    return (_VI_KINDS if language == "vi" else _EN_KINDS).get(kind, kind)


def ending_name(language: str, ending: str) -> str:
    """What became of a message, for people."""
    return (_VI_ENDINGS if language == "vi" else _EN_ENDINGS)[ending]


def reason_name(language: str, reason: str) -> str:
    """Why a person should look, for people."""
    return (_VI_REASONS if language == "vi" else _EN_REASONS).get(reason, reason)


def road_name(language: str, road: str) -> str:
    """By which road look-ups came, for people."""
    return (_VI_ROADS if language == "vi" else _EN_ROADS).get(road, road)


def outcome_name(language: str, outcome: LookupOutcome) -> str:
    """How look-ups were answered, for people."""
    return (_VI_OUTCOMES if language == "vi" else _EN_OUTCOMES)[outcome]


def translator(language: str) -> Callable[[str, str], str]:
    """What the page calls for its own sentences: of a Vietnamese and an English one, the one wanted."""
    vietnamese = language == "vi"
    return lambda vi, en: vi if vietnamese else en
