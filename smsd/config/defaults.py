"""The defaults that are more than a word: what positions mean, the texts of the official letter, the look-ups' answers.

Spelled as an operator would write them in YAML. Every other default stands at its key in `settings`.
"""

from __future__ import annotations

from collections.abc import Mapping

from smsd.core.model import APOLOGY, CLOSED, RESULT_READY, SUPPLEMENT

POSITIONS: Mapping[str, Mapping[str, object]] = {
    SUPPLEMENT: {"statuses": ["Chờ bổ sung"], "steps": ["Tiếp nhận", "Trả kết quả"]},
    RESULT_READY: {"steps": ["Trả kết quả"]},
    CLOSED: {"steps": ["Đã trả kết quả", "Kết thúc", "Đã rút"]},
}
"""In the order in which they are tried."""

NOTICES: Mapping[str, Mapping[str, object]] = {
    SUPPLEMENT: {
        "text": "Thông báo: Hồ sơ của quý Ông/Bà ({Mã số hồ sơ}) cần bổ sung theo quy định. "
        "Mời Ông/Bà đến Bộ phận Một cửa {Tên cơ quan} để nhận thông báo",
        "settle": "2m",
        "valid_for": "10d",
    },
    RESULT_READY: {
        "text": "Thông báo: Hồ sơ của quý Ông/Bà ({Mã số hồ sơ}) đã được giải quyết xong. "
        "Mời Ông/Bà đến Bộ phận Một cửa {Tên cơ quan} để nhận kết quả",
        "settle": "2m",
        "valid_for": "10d",
    },
    APOLOGY: {
        "text": "Thông báo: Hồ sơ của quý Ông/Bà ({Mã số hồ sơ}) chưa có kết quả vào ngày {Ngày hẹn trả}. "
        "{Tên cơ quan} chân thành xin lỗi. Ông/Bà vui lòng đến nhận kết quả khi có tin nhắn tiếp theo",
        "settle": "0s",
        "at": "17:30",
        "until": "20:30",
        "unless": [RESULT_READY, CLOSED],
        "valid_for": "14h",
    },
}

KEYWORD = "MCKH"
ANSWER = (
    "Hồ sơ của quý Ông/Bà ({Mã số hồ sơ}) hiện đang ở bước {Tên bước giải quyết hiện tại}, "
    "trạng thái hồ sơ: {Đúng hạn/Trễ hạn}."
)
NOT_FOUND = "Không tìm thấy hồ sơ {Mã số hồ sơ}. Vui lòng kiểm tra lại mã số ghi trên giấy hẹn trả kết quả."
WRONG_SYNTAX = "Tin nhắn sai cú pháp. Vui lòng soạn: MCKH, dấu cách, mã số hồ sơ, gửi 9029."
TOO_MANY = "Quý Ông/Bà đã tra cứu quá nhiều lần. Vui lòng thử lại sau."
SECRET = "${credential:inbound}"  # noqa: S105 # nosec B105 # where it is found, not what it is
