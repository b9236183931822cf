"""Rows of shipped poses, without their pictures: what choosing by words needs of a seeded library, in milliseconds."""

from sqlalchemy import select

from posegen.database import Database
from posegen.poses import pose_to_openpose
from posegen.tables import LibraryPose, PoseCategory
from posegen.words.bending import shipped_library
from support.house import NOW


def shelve_shipped_poses(database: Database) -> dict[str, str]:
    """Write a row for every shipped pose, each with a key of its preview; return their ids by slug."""
    with database.writing() as session:
        shelf = session.scalars(select(PoseCategory)).first()
        assert shelf is not None
        rows = [
            LibraryPose(
                slug=authored.slug,
                name=authored.name,
                description=authored.description,
                category_id=shelf.id,
                people=pose_to_openpose(authored.pose),
                preview_key=f"library/{authored.slug}/preview.png",
                difficulty=authored.difficulty,
                gender_suitability=authored.gender_suitability,
                tags=list(authored.tags),
                created_at=NOW,
                updated_at=NOW,
            )
            for authored in shipped_library().poses
        ]
        session.add_all(rows)
        session.flush()
        return {row.slug: row.id for row in rows}
