-- The login smsd uses: it can read the view and nothing else. Run as an administrator in the agency's database, after
-- view.sql. Replace the password first; in `database` write it as ${credential:<agency>}.

CREATE LOGIN smsd_reader WITH PASSWORD = N'CHANGE-ME', CHECK_POLICY = ON;
GO

CREATE USER smsd_reader FOR LOGIN smsd_reader;
GRANT SELECT ON OBJECT::dbo.smsd_dossiers TO smsd_reader;
DENY INSERT, UPDATE, DELETE ON OBJECT::dbo.smsd_dossiers TO smsd_reader;
GO

-- SQL Server has no read-only sessions: what protects the database is that the user is in no role but public. Nothing
-- may be listed here but public (no row, or public alone):
SELECT r.name AS role_of_smsd_reader
FROM sys.database_role_members AS m
JOIN sys.database_principals AS r ON r.principal_id = m.role_principal_id
JOIN sys.database_principals AS u ON u.principal_id = m.member_principal_id
WHERE u.name = N'smsd_reader';
GO

-- A read waits for writers' locks, and they for it, unless rows are versioned. Recommended; needs a quiet moment, since
-- it waits until nobody else is connected, and room in tempdb. Put the database's name in place of MotCua:
-- ALTER DATABASE MotCua SET READ_COMMITTED_SNAPSHOT ON;
-- ALTER DATABASE MotCua SET ALLOW_SNAPSHOT_ISOLATION ON does not suffice: smsd reads as the database's default says.
