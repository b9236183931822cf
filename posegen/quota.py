"""The unlimited tier: so many pictures a day instead of credits, while a subscription lasts.

A day is a UTC day by the database's clock. Taking from the quota is one conditional UPDATE, so two orders at once
cannot share its last picture; over the quota an order is refused and never falls back to credits. When the
subscription has expired, orders cost credits like anybody's.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import case, select, update
from sqlalchemy.orm import Session

from posegen.errors import BadInput, Conflict, QuotaExceeded
from posegen.tables import User

LARGEST_QUOTA = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a user may still draw today without credits. `expires_at` is None for who never had a subscription."""

    active: bool
    daily_quota: int
    used: int
    remaining: int
    resets_at: datetime
    expires_at: datetime | None


def day_of(moment: datetime) -> date:
    """Return the UTC day on which pictures ordered at this moment count."""
    return moment.astimezone(UTC).date()


def allowance_of(user: User, *, now: datetime) -> Allowance:
    """Return the user's allowance; without a running subscription nothing remains."""
    active = user.unlimited_until is not None and user.unlimited_until > now
    used = user.quota_used if user.quota_day is not None and user.quota_day >= day_of(now) else 0
    return Allowance(
        active=active,
        daily_quota=user.unlimited_daily_quota,
        used=used,
        remaining=max(0, user.unlimited_daily_quota - used) if active else 0,
        resets_at=_midnight_after(now),
        expires_at=user.unlimited_until,
    )


def is_unlimited(session: Session, user_id: str, *, now: datetime) -> bool:
    """Tell whether the user's orders are paid by the quota now."""
    until = session.execute(select(User.unlimited_until).where(User.id == user_id)).scalar_one_or_none()
    return until is not None and until > now


def take(session: Session, user_id: str, pictures: int, *, now: datetime) -> date:
    """Take pictures from today's quota and return the day they count on, by which alone they are given back.

    An order that waited across midnight for the one before it counts on the newer day. Raises QuotaExceeded (nothing
    was taken), or Conflict without a subscription.
    """
    today = day_of(now)
    begun = User.quota_day >= today
    used = case((begun, User.quota_used), else_=0)
    day = session.execute(
        update(User)
        .where(User.id == user_id, User.unlimited_until > now, used + pictures <= User.unlimited_daily_quota)
        .values(quota_used=used + pictures, quota_day=case((begun, User.quota_day), else_=today))
        .returning(User.quota_day)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if day is not None:
        return day
    allowance = allowance_of(session.get_one(User, user_id, populate_existing=True), now=now)
    if not allowance.active:
        raise Conflict("The subscription has just ended; order again to pay with credits.")
    raise QuotaExceeded(
        required=pictures,
        remaining=allowance.remaining,
        daily_quota=allowance.daily_quota,
        resets_at=allowance.resets_at,
    )


def give_back(session: Session, user_id: str, *, taken_on: date) -> None:
    """Give back one picture that was not delivered, if the day it was taken from is still the one that is counted."""
    session.execute(
        update(User)
        .where(User.id == user_id, User.quota_day == taken_on, User.quota_used > 0)
        .values(quota_used=User.quota_used - 1)
        .execution_options(synchronize_session=False)
    )


def subscribe(session: Session, user: User, *, last_day: date, daily_quota: int | None, now: datetime) -> Allowance:
    """Put the user in the unlimited tier through the end of `last_day` (UTC); a day that is over ends it.

    None keeps the quota. Raises BadInput for a quota below 1.
    """
    if daily_quota is not None and not 1 <= daily_quota <= LARGEST_QUOTA:
        raise BadInput(f"A daily quota is 1 to {LARGEST_QUOTA} pictures.")
    user.unlimited_until = datetime.combine(last_day + timedelta(days=1), time.min, UTC)
    if daily_quota is not None:
        user.unlimited_daily_quota = daily_quota
    user.updated_at = now
    return allowance_of(user, now=now)


def _midnight_after(moment: datetime) -> datetime:
    return datetime.combine(day_of(moment) + timedelta(days=1), time.min, UTC)
