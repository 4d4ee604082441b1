-- The view smsd reads. Put your own tables and columns in place of the example's; the names behind AS stay.
-- The view reads its tables with its owner's rights, so that smsd's login needs none on them.

CREATE OR REPLACE VIEW public.smsd_dossiers AS
SELECT h.ma_ho_so        AS dossier_code,    -- mã hồ sơ: unique, never null
       h.dien_thoai      AS phone,           -- the applicant's phone as typed in
       b.ten_buoc        AS step,            -- current step: Tiếp nhận, …, Trả kết quả
       t.ten_trang_thai  AS status,          -- processing status: Đang xử lý, Chờ bổ sung, …
       h.ma_thu_tuc      AS procedure_code,
       tt.ten_thu_tuc    AS procedure_name,
       h.ngay_nhan       AS received_at,
       h.ngay_hen_tra    AS due_at,          -- ngày hẹn trả
       h.ngay_co_ket_qua AS resolved_at,     -- when it reached Trả kết quả
       h.ngay_cap_nhat   AS updated_at,      -- last change of anything above; indexed, for changed_by
       h.ma_co_quan      AS agency_code      -- for `filter`, where several agencies share the database
FROM public.ho_so AS h
LEFT JOIN public.buoc_xu_ly AS b ON b.id = h.buoc_id
LEFT JOIN public.trang_thai AS t ON t.id = h.trang_thai_id
LEFT JOIN public.thu_tuc AS tt ON tt.ma_thu_tuc = h.ma_thu_tuc;

COMMENT ON VIEW public.smsd_dossiers IS 'Read by smsd, which texts citizens about their dossiers';
