-- Example of a one-stop-shop database, to try view.sql and login.sql on. Do not run it in an agency's own database.

CREATE TABLE dbo.ThuTuc (
    MaThuTuc  nvarchar(50)  NOT NULL PRIMARY KEY,
    TenThuTuc nvarchar(500) NOT NULL
);

CREATE TABLE dbo.BuocXuLy (
    Id      int           NOT NULL PRIMARY KEY,
    TenBuoc nvarchar(200) NOT NULL
);

CREATE TABLE dbo.TrangThai (
    Id           int           NOT NULL PRIMARY KEY,
    TenTrangThai nvarchar(200) NOT NULL
);

CREATE TABLE dbo.HoSo (
    MaHoSo       nvarchar(50)  NOT NULL PRIMARY KEY,
    MaCoQuan     nvarchar(50)  NOT NULL,
    TenNguoiNop  nvarchar(200) NULL,
    DienThoai    nvarchar(100) NULL,
    MaThuTuc     nvarchar(50)  NULL REFERENCES dbo.ThuTuc (MaThuTuc),
    BuocId       int           NULL REFERENCES dbo.BuocXuLy (Id),
    TrangThaiId  int           NULL REFERENCES dbo.TrangThai (Id),
    NgayNhan     datetime2(0)  NOT NULL,
    NgayHenTra   datetime2(0)  NULL,
    NgayCoKetQua datetime2(0)  NULL,
    NgayCapNhat  datetime2(3)  NOT NULL,
    INDEX IX_HoSo_NgayCapNhat (NgayCapNhat)
);
GO

INSERT INTO dbo.BuocXuLy (Id, TenBuoc)
VALUES (1, N'Tiếp nhận'), (2, N'Thẩm định'), (3, N'Trả kết quả'), (4, N'Đã trả kết quả');

INSERT INTO dbo.TrangThai (Id, TenTrangThai)
VALUES (1, N'Đang xử lý'), (2, N'Chờ bổ sung'), (3, N'Hoàn thành');
GO
