"""Pictures that a customer likes; the library counts them for the poses they were drawn in."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from posegen.errors import NotFound
from posegen.tables import GeneratedPicture, LibraryPose


def mark_favorite(session: Session, user_id: str, picture_id: str, *, is_favorite: bool) -> GeneratedPicture:
    """Mark a picture as a favourite or not; saying it twice counts once. Raises NotFound, also for somebody else's."""
    mine = (GeneratedPicture.id == picture_id, GeneratedPicture.user_id == user_id)
    changed = session.execute(
        update(GeneratedPicture)
        .where(*mine, GeneratedPicture.is_favorite.is_not(is_favorite))
        .values(is_favorite=is_favorite)
        .returning(GeneratedPicture.pose_library_id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if changed is not None and changed[0] is not None:
        session.execute(
            update(LibraryPose)
            .where(LibraryPose.id == changed[0])
            .values(favorite_count=LibraryPose.favorite_count + (1 if is_favorite else -1))
            .execution_options(synchronize_session=False)
        )
    picture = session.get(GeneratedPicture, picture_id, populate_existing=True)
    if picture is None or picture.user_id != user_id:
        raise NotFound("picture", [picture_id])
    return picture
