-- Example of a one-stop-shop database, to try view.sql on. Do not run it in an agency's own database.

CREATE TABLE thu_tuc (
    ma_thu_tuc  TEXT PRIMARY KEY,
    ten_thu_tuc TEXT NOT NULL
);

CREATE TABLE buoc_xu_ly (
    id       INTEGER PRIMARY KEY,
    ten_buoc TEXT NOT NULL
);

CREATE TABLE trang_thai (
    id             INTEGER PRIMARY KEY,
    ten_trang_thai TEXT NOT NULL
);

CREATE TABLE ho_so (
    ma_ho_so        TEXT PRIMARY KEY,
    ma_co_quan      TEXT NOT NULL,
    ten_nguoi_nop   TEXT,
    dien_thoai      TEXT,
    ma_thu_tuc      TEXT REFERENCES thu_tuc,
    buoc_id         INTEGER REFERENCES buoc_xu_ly,
    trang_thai_id   INTEGER REFERENCES trang_thai,
    ngay_nhan       TEXT NOT NULL,  -- date-times are ISO 8601 text: 2026-08-03 09:00:00
    ngay_hen_tra    TEXT,
    ngay_co_ket_qua TEXT,
    ngay_cap_nhat   TEXT NOT NULL
);

CREATE INDEX ho_so_ngay_cap_nhat ON ho_so (ngay_cap_nhat);

INSERT INTO buoc_xu_ly VALUES (1, 'Tiếp nhận'), (2, 'Thẩm định'), (3, 'Trả kết quả'), (4, 'Đã trả kết quả');
INSERT INTO trang_thai VALUES (1, 'Đang xử lý'), (2, 'Chờ bổ sung'), (3, 'Hoàn thành');
