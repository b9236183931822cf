"""The PostgreSQL of the tests: the throw-away server that scripts/chaos.py breaks, careless and therefore fast."""

from postgres_server import PostgresServer

__all__ = ["PostgresServer"]
