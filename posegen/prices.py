"""What things cost. Computed here and nowhere else; a client's own sum is never read."""

PICTURE_CREDITS = 30
BACKGROUND_CREDITS = 10


def picture_price(*, with_background: bool) -> int:
    """Return the credits of one picture; exports and uploaded backgrounds are free."""
    return PICTURE_CREDITS + (BACKGROUND_CREDITS if with_background else 0)
