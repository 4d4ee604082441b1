-- Example of a one-stop-shop database, to try view.sql and login.sql on. Do not run it in an agency's own database.

CREATE TABLE thu_tuc (
    ma_thu_tuc  text PRIMARY KEY,
    ten_thu_tuc text NOT NULL
);

CREATE TABLE buoc_xu_ly (
    id       integer PRIMARY KEY,
    ten_buoc text NOT NULL
);

CREATE TABLE trang_thai (
    id             integer PRIMARY KEY,
    ten_trang_thai text NOT NULL
);

CREATE TABLE ho_so (
    ma_ho_so        text PRIMARY KEY,
    ma_co_quan      text NOT NULL,
    ten_nguoi_nop   text,
    dien_thoai      text,
    ma_thu_tuc      text REFERENCES thu_tuc,
    buoc_id         integer REFERENCES buoc_xu_ly,
    trang_thai_id   integer REFERENCES trang_thai,
    ngay_nhan       timestamp NOT NULL,
    ngay_hen_tra    timestamp,
    ngay_co_ket_qua timestamp,
    ngay_cap_nhat   timestamp NOT NULL
);

CREATE INDEX ho_so_ngay_cap_nhat ON ho_so (ngay_cap_nhat);

INSERT INTO buoc_xu_ly VALUES (1, 'Tiếp nhận'), (2, 'Thẩm định'), (3, 'Trả kết quả'), (4, 'Đã trả kết quả');
INSERT INTO trang_thai VALUES (1, 'Đang xử lý'), (2, 'Chờ bổ sung'), (3, 'Hoàn thành');
