"""What must be true of the rows about money, pictures and quota, as set-based SQL; posegen.books runs it.

A Check goes over one kind of row and joins what its promises compare; each promise says when it is broken and which
figures show it. The checks share no code with what writes the rows: they know only tables, statuses and entry types.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Subquery, and_, case, func, or_, select
from sqlalchemy.orm import aliased

from posegen.row_checks import Check, Column, Promise
from posegen.statuses import FINAL_GENERATION_STATUSES, OPEN_ITEM_STATUSES, EntryType, ItemKind, ItemStatus
from posegen.tables import ForgottenGeneration, GeneratedPicture, Generation, LedgerEntry, StoredObject, User, WorkItem

UNDELIVERED = (ItemStatus.FAILED, ItemStatus.CANCELLED)
"""Paid for and given back."""


@cache
def checks() -> tuple[Check, ...]:
    """Return every check, made once."""
    return (_users(), _generations(), _forgotten(), _entries(), _items(), _pictures())


def _users() -> Check:
    entries = (
        select(LedgerEntry.user_id, func.sum(LedgerEntry.amount_credits).label("credits"))
        .group_by(LedgerEntry.user_id)
        .subquery("entries")
    )
    kept = Generation.quota_charged - Generation.poses_failed - Generation.poses_cancelled
    taken = (
        select(Generation.user_id, Generation.quota_day, kept.label("kept"))
        .where(Generation.quota_charged > 0)
        .union_all(
            select(ForgottenGeneration.user_id, ForgottenGeneration.quota_day, ForgottenGeneration.quota_kept).where(
                ForgottenGeneration.quota_kept > 0
            )
        )
        .subquery("taken")
    )
    quota = (
        select(taken.c.user_id, func.sum(taken.c.kept).label("pictures"))
        .join(User, and_(User.id == taken.c.user_id, User.quota_day == taken.c.quota_day))
        .group_by(taken.c.user_id)
        .subquery("quota")
    )
    balance, pictures = _or_0(entries.c.credits), _or_0(quota.c.pictures)
    source = _table(User).outerjoin(entries, entries.c.user_id == User.id).outerjoin(quota, quota.c.user_id == User.id)
    return Check(
        kind="user",
        id=_column(User.id),
        source=source,
        promises=(
            Promise(
                name="a balance is the sum of its entries",
                broken=User.credit_balance != balance,
                figures={"balance": _column(User.credit_balance), "entries": balance},
            ),
            Promise(
                name="the quota used is what was ordered on its day and not given back",
                broken=User.quota_used != pictures,
                figures={"used": _column(User.quota_used), "pictures": pictures, "day": _column(User.quota_day)},
            ),
        ),
    )


def _generations() -> Check:
    entries, items = _entries_of_generations(), _items_of_generations()
    usage, refunds = _or_0(entries.c.usage), _or_0(entries.c.refunds)
    delivered, undelivered, open_ = (_or_0(items.c[f"{what}_credits"]) for what in ("delivered", "undelivered", "open"))
    counts = {status: _or_0(items.c[status]) for status in ("completed", "failed", "cancelled")}
    pictures, waiting, unlimited = (_or_0(items.c[what]) for what in ("pictures", "waiting", "unlimited"))
    columns = {
        "completed": Generation.poses_completed,
        "failed": Generation.poses_failed,
        "cancelled": Generation.poses_cancelled,
    }
    owners = [part.c[end] for part in (entries, items) for end in ("first_user", "last_user")]
    source = (
        _table(Generation)
        .outerjoin(entries, entries.c.reference == Generation.id)
        .outerjoin(items, items.c.generation_id == Generation.id)
    )
    return Check(
        kind="generation",
        id=_column(Generation.id),
        source=source,
        promises=(
            Promise(
                name="what was charged is delivered, refunded or still open",
                broken=or_(Generation.credit_charged != usage, usage != delivered + undelivered + open_),
                figures={
                    "charged": _column(Generation.credit_charged),
                    "usage_entries": usage,
                    "delivered": delivered,
                    "undelivered": undelivered,
                    "open": open_,
                },
            ),
            Promise(
                name="what was refunded is what was not delivered",
                broken=or_(Generation.credit_refunded != refunds, refunds != undelivered),
                figures={
                    "refunded": _column(Generation.credit_refunded),
                    "refund_entries": refunds,
                    "undelivered": undelivered,
                },
            ),
            Promise(
                name="the counts are those of the items",
                broken=or_(
                    Generation.total_expected_poses != pictures,
                    *(column != counts[status] for status, column in columns.items()),
                ),
                figures={
                    "total": _column(Generation.total_expected_poses),
                    "items": pictures,
                    **{status: _column(column) for status, column in columns.items()},
                    **{f"{status}_items": count for status, count in counts.items()},
                },
            ),
            Promise(
                name="the quota taken is one for each picture of the unlimited tier",
                broken=Generation.quota_charged != unlimited,
                figures={"quota_charged": _column(Generation.quota_charged), "unlimited_items": unlimited},
            ),
            Promise(
                name="a generation is final when its last picture is",
                broken=Generation.status.in_(FINAL_GENERATION_STATUSES) != (waiting == 0),
                figures={"status": _column(Generation.status), "open_items": waiting},
            ),
            Promise(
                name="entries and items belong to the generation's customer",
                broken=_another(owners, _column(Generation.user_id)),
                figures={
                    "user": _column(Generation.user_id),
                    "entries_of": entries.c.first_user,
                    "entries_and_of": entries.c.last_user,
                    "items_of": items.c.first_user,
                    "items_and_of": items.c.last_user,
                },
            ),
        ),
    )


def _forgotten() -> Check:
    entries = _entries_of_generations()
    usage, refunds = _or_0(entries.c.usage), _or_0(entries.c.refunds)
    owners = [entries.c.first_user, entries.c.last_user]
    return Check(
        kind="forgotten generation",
        id=_column(ForgottenGeneration.id),
        source=_table(ForgottenGeneration)
        .outerjoin(entries, entries.c.reference == ForgottenGeneration.id)
        .outerjoin(Generation, Generation.id == ForgottenGeneration.id),
        promises=(
            Promise(
                name="a forgotten generation is gone",
                broken=Generation.id.is_not(None),
                figures={"status": _column(Generation.status)},
            ),
            Promise(
                name="the entries of a forgotten generation belong to its customer",
                broken=_another(owners, _column(ForgottenGeneration.user_id)),
                figures={
                    "user": _column(ForgottenGeneration.user_id),
                    "entries_of": entries.c.first_user,
                    "entries_and_of": entries.c.last_user,
                },
            ),
            Promise(
                name="the entries of a forgotten generation are what it cost",
                broken=or_(ForgottenGeneration.credit_charged != usage, ForgottenGeneration.credit_refunded != refunds),
                figures={
                    "charged": _column(ForgottenGeneration.credit_charged),
                    "usage_entries": usage,
                    "refunded": _column(ForgottenGeneration.credit_refunded),
                    "refund_entries": refunds,
                },
            ),
        ),
    )


def _entries() -> Check:
    """Usage and refunds: what each was for. A refund's item is found by the generation and the part it names."""
    spent = LedgerEntry.type.in_((EntryType.USAGE, EntryType.REFUND))
    refund = and_(LedgerEntry.type == EntryType.REFUND, ForgottenGeneration.id.is_(None))
    item = and_(refund, WorkItem.generation_id == LedgerEntry.reference, WorkItem.part == LedgerEntry.part)
    named = {
        "reference": _column(LedgerEntry.reference),
        "part": _column(LedgerEntry.part),
        "amount": _column(LedgerEntry.amount_credits),
    }
    return Check(
        kind="entry",
        id=_column(LedgerEntry.id),
        source=_table(LedgerEntry)
        .outerjoin(Generation, and_(spent, Generation.id == LedgerEntry.reference))
        .outerjoin(ForgottenGeneration, and_(spent, ForgottenGeneration.id == LedgerEntry.reference))
        .outerjoin(WorkItem, item),
        promises=(
            Promise(
                name="usage and refunds name a generation",
                broken=and_(spent, Generation.id.is_(None), ForgottenGeneration.id.is_(None)),
                figures={"type": _column(LedgerEntry.type), **named},
            ),
            Promise(
                name="a refund is what one undelivered item cost",
                broken=and_(
                    refund,
                    or_(
                        WorkItem.id.is_(None),
                        WorkItem.status.not_in(UNDELIVERED),
                        WorkItem.price_credits != LedgerEntry.amount_credits,
                    ),
                ),
                figures={
                    **named,
                    "item": _column(WorkItem.id),
                    "status": _column(WorkItem.status),
                    "price": _column(WorkItem.price_credits),
                },
            ),
        ),
    )


def _items() -> Check:
    original = aliased(WorkItem, name="original")
    refund = and_(
        LedgerEntry.reference == WorkItem.generation_id,
        LedgerEntry.type == EntryType.REFUND,
        LedgerEntry.part == WorkItem.part,
    )
    picture = GeneratedPicture.work_item_id == WorkItem.id
    state = {"generation": _column(WorkItem.generation_id), "status": _column(WorkItem.status)}
    final = and_(WorkItem.kind == ItemKind.POSE, WorkItem.status.in_((ItemStatus.COMPLETED, ItemStatus.FAILED)))
    return Check(
        kind="item",
        id=_column(WorkItem.id),
        source=_table(WorkItem)
        .outerjoin(LedgerEntry, and_(WorkItem.status.in_(UNDELIVERED), refund))
        .outerjoin(GeneratedPicture, and_(final, picture))
        .outerjoin(original, original.id == WorkItem.retry_of),
        promises=(
            Promise(
                name="what was not delivered is refunded",
                broken=and_(WorkItem.status.in_(UNDELIVERED), WorkItem.price_credits > 0, LedgerEntry.id.is_(None)),
                figures={**state, "part": _column(WorkItem.part), "price": _column(WorkItem.price_credits)},
            ),
            Promise(
                name="a drawn or failed item has its picture",
                broken=and_(final, GeneratedPicture.id.is_(None)),
                figures=state,
            ),
            Promise(
                name="only what was not delivered is ordered again",
                broken=and_(
                    WorkItem.retry_of.is_not(None),
                    or_(
                        original.id.is_(
                            None
                        ),  # the chain is torn: what was before it looks as if it never was repeated
                        original.status.not_in(UNDELIVERED),
                        original.user_id != WorkItem.user_id,
                    ),
                ),
                figures={**state, "retry_of": _column(WorkItem.retry_of), "its_status": _column(original.status)},
            ),
        ),
    )


def _pictures() -> Check:
    output, thumbnail = aliased(StoredObject, name="output"), aliased(StoredObject, name="thumbnail")
    delivered = GeneratedPicture.status == ItemStatus.COMPLETED
    lost_thumbnail = and_(GeneratedPicture.thumbnail_key.is_not(None), thumbnail.key.is_(None))
    return Check(
        kind="picture",
        id=_column(GeneratedPicture.id),
        source=_table(GeneratedPicture)
        .outerjoin(WorkItem, WorkItem.id == GeneratedPicture.work_item_id)
        .outerjoin(output, and_(delivered, output.key == GeneratedPicture.output_key))
        .outerjoin(thumbnail, and_(delivered, thumbnail.key == GeneratedPicture.thumbnail_key)),
        promises=(
            Promise(
                name="a picture is as final as its item, and of the same order",
                broken=or_(
                    func.coalesce(WorkItem.status, "") != GeneratedPicture.status,
                    WorkItem.generation_id != GeneratedPicture.generation_id,
                    WorkItem.user_id != GeneratedPicture.user_id,
                ),
                figures={
                    "generation": _column(GeneratedPicture.generation_id),
                    "status": _column(GeneratedPicture.status),
                    "item": _column(GeneratedPicture.work_item_id),
                    "item_status": _column(WorkItem.status),
                    "item_generation": _column(WorkItem.generation_id),
                },
            ),
            Promise(
                name="a delivered picture's files are on record",
                broken=and_(delivered, or_(output.key.is_(None), lost_thumbnail)),
                figures={
                    "generation": _column(GeneratedPicture.generation_id),
                    "output": _column(GeneratedPicture.output_key),
                    "stored_output": _column(output.key),
                    "thumbnail": _column(GeneratedPicture.thumbnail_key),
                    "stored_thumbnail": _column(thumbnail.key),
                },
            ),
        ),
    )


def _entries_of_generations() -> Subquery:
    def credits(type_: EntryType, sign: int) -> ColumnElement[int]:
        return func.sum(case((LedgerEntry.type == type_, sign * LedgerEntry.amount_credits), else_=0))

    return (
        select(
            LedgerEntry.reference,
            credits(EntryType.USAGE, -1).label("usage"),
            credits(EntryType.REFUND, 1).label("refunds"),
            func.min(LedgerEntry.user_id).label("first_user"),
            func.max(LedgerEntry.user_id).label("last_user"),
        )
        .where(LedgerEntry.type.in_((EntryType.USAGE, EntryType.REFUND)))
        .group_by(LedgerEntry.reference)
        .subquery("entries")
    )


def _items_of_generations() -> Subquery:
    """Credits of all kinds of items, and counts of the pictures."""
    pose = WorkItem.kind == ItemKind.POSE
    priced = {
        "delivered": WorkItem.status == ItemStatus.COMPLETED,
        "undelivered": WorkItem.status.in_(UNDELIVERED),
        "open": WorkItem.status.in_(OPEN_ITEM_STATUSES),
    }
    counted = {
        "completed": WorkItem.status == ItemStatus.COMPLETED,
        "failed": WorkItem.status == ItemStatus.FAILED,
        "cancelled": WorkItem.status == ItemStatus.CANCELLED,
        "waiting": WorkItem.status.in_(OPEN_ITEM_STATUSES),
        "unlimited": WorkItem.unlimited.is_(True),
        "pictures": pose,
    }
    return (
        select(
            WorkItem.generation_id,
            *(
                func.sum(case((chosen, WorkItem.price_credits), else_=0)).label(f"{name}_credits")
                for name, chosen in priced.items()
            ),
            *(func.sum(case((and_(pose, chosen), 1), else_=0)).label(name) for name, chosen in counted.items()),
            func.min(WorkItem.user_id).label("first_user"),
            func.max(WorkItem.user_id).label("last_user"),
        )
        .where(WorkItem.generation_id.is_not(None))
        .group_by(WorkItem.generation_id)
        .subquery("items")
    )


def _another(owners: Iterable[Column], user: Column) -> ColumnElement[bool]:
    """Tell whether one of the owners, where there are any, is not the user."""
    return or_(*(func.coalesce(owner, user) != user for owner in owners))


def _or_0(column: Column) -> ColumnElement[Any]:
    return func.coalesce(column, 0)


def _column(column: Any) -> ColumnElement[Any]:
    found: ColumnElement[Any] = column.expression
    return found


def _table(row: Any) -> FromClause:
    found: FromClause = row.__table__
    return found
