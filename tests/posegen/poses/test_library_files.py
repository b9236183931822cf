import re
import shutil
import time
import tomllib
from collections import Counter
from dataclasses import replace

import pytest

from posegen.poses import KeyPoint, Person, Pose, PoseFileRefused, read_library, read_pose_file
from posegen.poses.library_files import LIBRARY_FOLDER
from posegen.poses.validation import pose_distance, validate_pose, validate_poses
from posegen.wording import check_wording

POSE = LIBRARY_FOLDER / "poses" / "hand-on-hip.toml"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(LIBRARY_FOLDER, tmp_path / "library")


def changed(folder, old, new, name="hand-on-hip"):
    path = folder / "poses" / f"{name}.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_every_pose_stands_in_a_category_of_its_own_kind_and_none_is_empty():
    library = read_library()
    parents = {c.slug: c.parent for c in library.categories}
    filled = Counter(pose.category for pose in library.poses)
    for slug, parent in parents.items():
        children = [child for child, of in parents.items() if of == slug]
        assert filled[slug] + sum(filled[child] for child in children) >= 2, slug
        assert not (children and filled[slug]), f"{slug} has sub-categories, and poses beside them"
        assert parent is None or (slug.startswith(f"{parent}-") and parents[parent] is None), slug


def test_the_featured_poses_are_a_handful_and_the_first_four_differ():
    featured = sorted((pose for pose in read_library().poses if pose.featured), key=lambda pose: pose.name)
    assert 4 <= len(featured) <= 8
    assert len({pose.category for pose in featured[:4]}) == 4


def test_names_are_different_and_descriptions_are_words_for_a_prompt():
    poses = read_library().poses
    assert len({pose.name.casefold() for pose in poses}) == len(poses)
    for pose in poses:
        assert 30 <= len(pose.description) <= 160, pose.slug
        assert not pose.description.endswith("."), pose.slug
        assert len(pose.tags) >= 3, pose.slug


def test_no_word_of_the_library_is_refused_in_a_prompt():
    for pose in read_library().poses:
        check_wording(", ".join((pose.name, pose.description, *pose.tags)), field=pose.slug)


def test_the_whole_library_is_read_in_under_a_second():
    started = time.perf_counter()
    read_library()
    assert time.perf_counter() - started < 1.0


def test_every_pose_of_the_library_passes_the_validator():
    assert validate_poses(read_library().poses) == ()


def test_poses_come_in_the_order_of_their_categories():
    library = read_library()
    order = [c.slug for c in library.categories]
    keys = [(order.index(pose.category), pose.display_order) for pose in library.poses]
    assert keys == sorted(keys)


def test_close_ups_have_a_face_and_poses_of_the_hands_have_hands():
    for authored in read_library().poses:
        person = authored.pose.people[0]
        if authored.support == "cut_off" and "profile" not in authored.tags:
            assert person.face is not None, authored.slug
        if authored.category.startswith(("gestures", "product", "portrait-expressive")):
            assert person.hand_left or person.hand_right, authored.slug


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('name = "Hand on hip"', 'name = ""', "name"),
        ('difficulty = "beginner"', 'difficulty = "easy"', "difficulty"),
        ("featured = true", 'featured = "yes"', "featured"),
        ("upper = [40, -14]", "upper = [40]", "people[0].right_arm.upper"),
        ("upper = [40, -14]", "upper = [40, -140]", "people[0].right_arm.upper"),
        ("upper = [40, -14]", "uper = [40, -14]", "people[0].right_arm.upper"),
        ('hand = "flat"', 'hand = "flipper"', "people[0].right_arm.hand"),
        ("lean = -2", "laen = -2", "people[0].torso.laen"),
        ("ground = 0.95, ", "", "people[0].placement.ground"),
        ("ground = 0.95, ", "ground = 0.95, hip = 0.5, ", "people[0].placement.ground"),
        ("[[people]]", "[people]", "people"),
        ('license_type = "Apache-2.0"', "", "license_type"),
        ('tags = ["full body"', 'tags = [""', "tags"),
        ("[[people]]", "[[people", "file"),
    ],
)
def test_a_broken_pose_file_is_refused_with_its_name_and_field(folder, old, new, field):
    path = changed(folder, old, new)
    with pytest.raises(PoseFileRefused) as refused:
        read_library(folder)
    assert refused.value.field == field
    assert str(refused.value).startswith("hand-on-hip.toml: ")
    assert refused.value.path == path


def test_a_pose_of_an_unknown_category_is_refused(folder):
    changed(folder, 'category = "standing-fashion"', 'category = "flying"')
    with pytest.raises(PoseFileRefused, match="flying"):
        read_library(folder)


def test_a_category_without_a_proper_colour_is_refused(folder):
    path = folder / "categories.toml"
    path.write_text(path.read_text().replace('"#3F5E8C"', '"#3F5E8G"'))
    with pytest.raises(PoseFileRefused, match="RRGGBB"):
        read_library(folder)


def test_a_missing_library_is_refused(tmp_path):
    with pytest.raises(PoseFileRefused, match="cannot be read"):
        read_library(tmp_path)


def test_a_pose_may_be_given_as_key_points(folder):
    person = read_pose_file(POSE).pose.people[0]
    numbers = [v for p in person.body for v in ((p.x, p.y, p.c) if p else (0, 0, 0))]
    head = POSE.read_text().split("[[people]]")[0]
    path = folder / "poses" / "from-points.toml"
    path.write_text(f"{head}[[people]]\npose_keypoints_2d = {numbers}\n")
    authored = read_pose_file(path)
    assert authored.pose.people[0].body == person.body
    assert authored.figures == (None,)
    assert validate_pose(authored) == ()


def test_wrong_key_points_are_refused_by_field(folder):
    head = POSE.read_text().split("[[people]]")[0]
    path = folder / "poses" / "from-points.toml"
    path.write_text(f"{head}[[people]]\npose_keypoints_2d = [0.5, 0.5]\n")
    with pytest.raises(PoseFileRefused, match=re.escape("people[0].pose_keypoints_2d")):
        read_pose_file(path)


def rules(authored):
    return {finding.rule for finding in validate_pose(authored)}


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("x = 0.48", "x = 0.9", "frame"),
        ("ground = 0.95", "ground = 0.80", "frame"),
        ("ground = 0.95", "ground = 1.003", "frame"),
        ("stature = 0.86", "stature = 0.4", "frame"),
        ("upper = [9, -4]", "upper = [9, -85]", "proportions"),
        ("upper = [9, -4], lower = [4, 14]", "upper = [9, -4], lower = [175, 4]", "joints"),
        ("hips_turn = 6", "hips_turn = 80", "joints"),
        ("turn = 10, ", "turn = 100, ", "joints"),
        ("upper = [13, 16], lower = [5, -12]", "upper = [13, -16], lower = [5, 30]", "joints"),
        ("lean = -2", "lean = -60", "joints"),
        ("upper = [-3, 0], lower = [-2, -2]", "upper = [-30, 0], lower = [-25, -2]", "balance"),
    ],
)
def test_the_validator_finds_what_a_body_cannot_do(folder, old, new, rule):
    assert rule in rules(read_pose_file(changed(folder, old, new)))


def test_the_validator_finds_an_arm_longer_than_a_person_has(folder):
    authored = read_pose_file(POSE)
    body = list(authored.pose.people[0].body)
    body[7] = KeyPoint(body[7].x, body[7].y + 0.12)
    stretched = replace(authored, pose=Pose(people=(Person(body=tuple(body)),)))
    assert "proportions" in rules(stretched)


def test_somebody_who_lies_may_stretch_an_arm_beyond_the_head():
    lying = next(pose for pose in read_library().poses if pose.slug == "lying-from-above")
    assert lying.figures[0].figure.placement.roll != 0
    assert rules(lying) == set()


def test_the_validator_finds_a_head_cut_off_above_its_key_points(folder):
    authored = read_pose_file(changed(folder, "ground = 0.95", "ground = 0.82"))
    assert min(p.y for p in authored.pose.seen_points()) > 0.02
    assert any("top of the head" in finding.message for finding in validate_pose(authored))


def test_two_poses_that_differ_in_one_arm_only_are_no_duplicates(folder):
    first = read_pose_file(POSE)
    second = read_pose_file(changed(folder, "upper = [9, -4], lower = [4, 14]", "upper = [9, -4], lower = [60, 14]"))
    assert pose_distance(first, second) > 0.045
    assert pose_distance(first, first) == 0


def test_the_validator_finds_exchanged_sides():
    authored = read_pose_file(POSE)
    body = authored.pose.people[0].body
    swapped = (*body[:2], *body[5:8], *body[2:5], *body[8:])
    assert "sides" in rules(replace(authored, pose=Pose(people=(Person(body=swapped),))))


def test_the_validator_finds_a_copy_and_a_mirrored_copy():
    authored = read_pose_file(POSE)
    body = [p and KeyPoint(1 - p.x, p.y) for p in authored.pose.people[0].body]
    order = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
    mirrored = replace(authored, slug="mirrored", pose=Pose(people=(Person(body=tuple(body[i] for i in order)),)))
    for copy in (replace(authored, slug="copy"), mirrored):
        assert {f.rule for f in validate_poses((authored, copy))} >= {"duplicate"}


def test_the_data_files_are_part_of_the_installed_package():
    pyproject = tomllib.loads((LIBRARY_FOLDER.parent.parent / "pyproject.toml").read_text())
    assert "*.toml" in pyproject["tool"]["setuptools"]["package-data"]["*"]
    for package in (LIBRARY_FOLDER, LIBRARY_FOLDER / "poses"):
        assert (package / "__init__.py").is_file()
