"""Names for rows: UUIDv7, so that they sort by age and cannot be guessed."""

import secrets

import uuid_utils

SEED_LIMIT = 2**32
"""Seeds are 0 <= seed < SEED_LIMIT, exact in every language a client may be written in."""


def new_id() -> str:
    """Return a fresh UUIDv7 in its 36-character form."""
    return str(uuid_utils.uuid7())


def new_seed() -> int:
    """Return a random seed."""
    return secrets.randbelow(SEED_LIMIT)
