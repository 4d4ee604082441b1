"""How the state store's schema came to be, one step a file; run by alembic."""
