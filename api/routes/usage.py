"""What a customer has and has used: favourites, credits, numbers."""

from fastapi import APIRouter

from api.access import CurrentUser
from api.routes import POSE_GENERATOR
from api.service import Parts
from api.wire.generations import PictureTold
from api.wire.usage import CreditsTold, FavoriteBody, FavoriteTold, StatisticsTold, UnlimitedTold
from posegen.accounts import user_by_id
from posegen.database import database_now
from posegen.favorites import mark_favorite
from posegen.quota import allowance_of
from posegen.statistics import statistics_of

router = APIRouter(prefix=POSE_GENERATOR, tags=["usage"])


@router.put("/poses/{picture_id}/favorite")
def favorite(picture_id: str, body: FavoriteBody, caller: CurrentUser, service: Parts) -> FavoriteTold:
    """Mark a picture as a favourite, or not."""
    with service.database.writing() as session:
        row = mark_favorite(session, caller.id, picture_id, is_favorite=body.is_favorite)
    return FavoriteTold(pose_id=row.id, is_favorite=row.is_favorite, pose=PictureTold.of(row, service.links))


@router.get("/credits")
def credits_left(caller: CurrentUser, service: Parts) -> CreditsTold:
    """Tell what orders can be paid with: credits, and today's quota of the unlimited tier."""
    with service.database.reading() as session:
        user = user_by_id(session, caller.id)
        allowance = allowance_of(user, now=database_now(session))
        return CreditsTold(balance=user.credit_balance, unlimited=UnlimitedTold.of(allowance))


@router.get("/stats")
def statistics(caller: CurrentUser, service: Parts) -> StatisticsTold:
    """Tell what the caller has drawn and spent so far."""
    with service.database.reading() as session:
        found = statistics_of(session, caller.id, now=database_now(session))
        return StatisticsTold.of(found, service.links)
