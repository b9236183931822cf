"""A figure every test of poses can draw."""

import pytest

from posegen.poses import KeyPoint, Person, Pose


@pytest.fixture
def standing_person() -> Person:
    places = [
        (0.50, 0.15), (0.50, 0.25),
        (0.40, 0.25), (0.36, 0.40), (0.34, 0.53),
        (0.60, 0.25), (0.64, 0.40), (0.66, 0.53),
        (0.45, 0.52), (0.44, 0.72), (0.43, 0.92),
        (0.55, 0.52), (0.56, 0.72), (0.57, 0.92),
        (0.48, 0.13), (0.52, 0.13), (0.46, 0.14), (0.54, 0.14),
    ]  # fmt: skip
    return Person(body=tuple(KeyPoint(x, y) for x, y in places))


@pytest.fixture
def standing_pose(standing_person: Person) -> Pose:
    return Pose(people=(standing_person,))
