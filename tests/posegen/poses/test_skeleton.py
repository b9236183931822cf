from posegen.poses import skeleton


def test_the_limbs_are_the_published_table():
    pairs = "1-2 1-5 2-3 3-4 5-6 6-7 1-8 8-9 9-10 1-11 11-12 12-13 1-0 0-14 14-16 0-15 15-17"
    assert " ".join(f"{limb.start}-{limb.end}" for limb in skeleton.LIMBS) == pairs


def test_every_joint_has_its_own_colour_and_the_last_is_the_left_ears():
    assert len(set(skeleton.JOINT_COLOURS)) == skeleton.BODY_POINTS
    assert skeleton.JOINT_COLOURS[skeleton.L_EAR] == (255, 0, 85)


def test_the_hand_is_five_chains_of_four_from_the_wrist():
    assert len(skeleton.HAND_LINES) == 20
    assert [line for line in skeleton.HAND_LINES if line[0] == 0] == [(0, 1), (0, 5), (0, 9), (0, 13), (0, 17)]


def test_every_joint_hangs_from_the_neck():
    for joint in range(skeleton.BODY_POINTS):
        steps = 0
        while (parent := skeleton.PARENTS[joint]) is not None:
            joint, steps = parent, steps + 1
        assert joint == skeleton.NECK
        assert steps <= 4
