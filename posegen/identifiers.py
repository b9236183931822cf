"""Names for rows: UUIDv7, so that they sort by age and cannot be guessed. And seeds for pictures."""

import hashlib
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


def seed_of_redraw(seed: int, redraw: int) -> int:
    """Return the seed of a picture's drawing number `redraw`: its own for 0, else one hashed from both."""
    if redraw == 0:
        return seed
    digest = hashlib.sha256(f"{seed}:{redraw}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % SEED_LIMIT
