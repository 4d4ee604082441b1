-- The login smsd uses: it can read the view and nothing else. Run as the database's owner, in the agency's database,
-- after view.sql. Replace the password first; in `database` write it as ${credential:<agency>}.

CREATE ROLE smsd_reader LOGIN PASSWORD 'CHANGE-ME' NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT CONNECTION LIMIT 5;

-- A second fence behind the missing rights; and no question of smsd's may burden the server for long.
ALTER ROLE smsd_reader SET default_transaction_read_only = on;
ALTER ROLE smsd_reader SET statement_timeout = '60s';
ALTER ROLE smsd_reader SET idle_in_transaction_session_timeout = '60s';

DO $$
BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO smsd_reader', current_database());
END
$$;

GRANT USAGE ON SCHEMA public TO smsd_reader;
GRANT SELECT ON public.smsd_dossiers TO smsd_reader;

-- Up to PostgreSQL 14 everybody may create tables in the schema public. If nobody needs that:
-- REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- Let smsd's machine in (pg_hba.conf):
-- hostssl  <database>  smsd_reader  <address of smsd's machine>/32  scram-sha-256
