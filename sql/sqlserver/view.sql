-- The view smsd reads (SQL Server 2016 SP1 and later; before: CREATE VIEW, and DROP VIEW first).
-- Put your own tables and columns in place of the example's; the names behind AS stay.
-- View and tables have one owner (dbo), so that smsd's login needs no right on the tables.

CREATE OR ALTER VIEW dbo.smsd_dossiers
AS
SELECT h.MaHoSo       AS dossier_code,    -- mã hồ sơ: unique, never null
       h.DienThoai    AS phone,           -- the applicant's phone as typed in
       b.TenBuoc      AS step,            -- current step: Tiếp nhận, …, Trả kết quả
       t.TenTrangThai AS status,          -- processing status: Đang xử lý, Chờ bổ sung, …
       h.MaThuTuc     AS procedure_code,
       tt.TenThuTuc   AS procedure_name,
       h.NgayNhan     AS received_at,
       h.NgayHenTra   AS due_at,          -- ngày hẹn trả
       h.NgayCoKetQua AS resolved_at,     -- when it reached Trả kết quả
       h.NgayCapNhat  AS updated_at,      -- last change of anything above; indexed, for changed_by
       h.MaCoQuan     AS agency_code      -- for `filter`, where several agencies share the database
FROM dbo.HoSo AS h
LEFT JOIN dbo.BuocXuLy AS b ON b.Id = h.BuocId
LEFT JOIN dbo.TrangThai AS t ON t.Id = h.TrangThaiId
LEFT JOIN dbo.ThuTuc AS tt ON tt.MaThuTuc = h.MaThuTuc;
GO
