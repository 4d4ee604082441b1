"""What the login to an agency's database could change, by the server's own account of it.

Each kind of database is asked one question; an answer is a row of truths, one for each of the words beside it. What
the login could do after taking on a role it is a member of counts as well as what it can do at once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

POSTGRES = """
WITH mine AS (SELECT * FROM pg_roles WHERE pg_has_role(oid, 'MEMBER')),
     asked AS (SELECT %s::regclass::oid AS oid),
     relations AS (SELECT c.oid, c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_'
                     AND n.nspname <> 'information_schema'),
     writable AS (SELECT DISTINCT r.oid FROM relations r CROSS JOIN mine m
                  WHERE has_table_privilege(m.oid, r.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                     OR has_any_column_privilege(m.oid, r.oid, 'INSERT, UPDATE'))
SELECT EXISTS (SELECT FROM writable JOIN asked USING (oid)),
       EXISTS (SELECT FROM writable WHERE oid NOT IN (SELECT oid FROM asked)),
       EXISTS (SELECT FROM relations r JOIN mine m ON m.oid = r.relowner),
       EXISTS (SELECT FROM pg_namespace n CROSS JOIN mine m
               WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                 AND has_schema_privilege(m.oid, n.oid, 'CREATE'))
       OR EXISTS (SELECT FROM mine m WHERE has_database_privilege(m.oid, current_database(), 'CREATE')),
       EXISTS (SELECT FROM pg_database d CROSS JOIN aclexplode(d.datacl) a JOIN mine m ON m.oid = a.grantee
               WHERE d.datname = current_database() AND a.privilege_type = 'TEMPORARY'),
       EXISTS (SELECT FROM mine WHERE rolsuper),
       EXISTS (SELECT FROM mine WHERE rolcreatedb OR rolcreaterole),
       EXISTS (SELECT FROM mine WHERE rolname IN ('pg_write_server_files', 'pg_execute_server_program'))
"""
POSTGRES_WORDS = (
    "change rows of the view",
    "change tables of the database",
    "do as it likes with what it owns in the database",
    "create tables or schemas",
    "create temporary tables, more than everybody",
    "do anything (superuser)",
    "create databases or roles",
    "write files or run programs on the server",
)

SQLSERVER = """
SELECT CASE WHEN HAS_PERMS_BY_NAME(?, 'OBJECT', 'INSERT') = 1 OR HAS_PERMS_BY_NAME(?, 'OBJECT', 'UPDATE') = 1
              OR HAS_PERMS_BY_NAME(?, 'OBJECT', 'DELETE') = 1
              OR EXISTS (SELECT 1 FROM fn_my_permissions(?, 'OBJECT')
                         WHERE permission_name IN ('INSERT', 'UPDATE', 'DELETE', 'ALTER', 'CONTROL', 'TAKE OWNERSHIP'))
            THEN 1 ELSE 0 END,
       CASE WHEN IS_MEMBER('db_owner') = 1 OR IS_MEMBER('db_datawriter') = 1
              OR HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'INSERT') = 1
              OR HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'UPDATE') = 1
              OR HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'DELETE') = 1
              OR EXISTS (SELECT 1 FROM fn_my_permissions(NULL, 'DATABASE')
                         WHERE permission_name IN ('CONTROL', 'EXECUTE', 'ALTER'))
              OR EXISTS (SELECT 1 FROM sys.tables AS t
                         CROSS APPLY (SELECT QUOTENAME(SCHEMA_NAME(t.schema_id)) + '.' + QUOTENAME(t.name)) AS n (name)
                         WHERE HAS_PERMS_BY_NAME(n.name, 'OBJECT', 'INSERT') = 1
                            OR HAS_PERMS_BY_NAME(n.name, 'OBJECT', 'UPDATE') = 1
                            OR HAS_PERMS_BY_NAME(n.name, 'OBJECT', 'DELETE') = 1) THEN 1 ELSE 0 END,
       CASE WHEN HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'CREATE TABLE') = 1 OR IS_MEMBER('db_ddladmin') = 1
              OR IS_MEMBER('db_securityadmin') = 1 THEN 1 ELSE 0 END,
       CASE WHEN IS_SRVROLEMEMBER('sysadmin') = 1
              OR HAS_PERMS_BY_NAME(NULL, NULL, 'CONTROL SERVER') = 1 THEN 1 ELSE 0 END
"""
SQLSERVER_VIEWS = 4
"""How many marks of the question stand for the view's name."""
SQLSERVER_WORDS = (
    "change rows of the view",
    "change tables of the database",
    "create tables or grant rights",
    "do anything (sysadmin)",
)


def in_words(answer: Sequence[object], words: Sequence[str]) -> list[str]:
    """What the login could change, each as what follows "it can"."""
    return [said for granted, said in zip(answer, words, strict=True) if granted]


def file_rights(path: Path) -> list[str]:
    """What the user that runs this could do to a SQLite file: write it, if its mode says so.

    To root every file is open; then what the mode grants to others than the owner is looked at instead.
    """
    try:
        if os.geteuid() == 0:
            granted = bool(path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        else:
            granted = os.access(path, os.W_OK)
    except OSError:
        return []
    return ["write the file (though smsd opens it read-only)"] if granted else []
