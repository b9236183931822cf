"""The shipped library, as a library that somebody keeps."""

import pytest

from posegen.poses import pose_to_openpose, read_library
from posegen.words import LibraryEntry


@pytest.fixture(scope="session")
def library() -> list[LibraryEntry]:
    return [
        LibraryEntry(
            key=f"id-{authored.slug}",
            slug=authored.slug,
            name=authored.name,
            description=authored.description,
            tags=authored.tags,
            people=pose_to_openpose(authored.pose),
        )
        for authored in read_library().poses
    ]
