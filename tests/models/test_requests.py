"""A request is refused with the error that says what to change, before anything is drawn."""

import math
from typing import Any

import pytest
from PIL import Image

from models import errors
from models.errors import ModelsError
from models.profiles import FLUX1_DEV, PIXEL_MULTIPLE, PROFILES, TINY, Profile, profile
from models.requests import check_request


def test_a_plain_request_is_accepted(ask: Any) -> None:
    check_request(ask("a"), TINY)


def test_a_request_with_a_pose_is_accepted(ask: Any) -> None:
    check_request(ask("a", control=Image.new("RGB", (128, 128))), TINY)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"prompt": ""}, errors.EmptyPrompt),
        ({"prompt": " \n\t"}, errors.EmptyPrompt),
        ({"width": 250}, errors.SizeRefused),
        ({"height": 0}, errors.SizeRefused),
        ({"width": 272, "height": 272}, errors.SizeRefused),
        ({"control": Image.new("RGB", (128, 112))}, errors.ControlRefused),
        ({"control": Image.new("L", (128, 128))}, errors.ControlRefused),
        ({"steps": 0}, errors.StepsRefused),
        ({"steps": 51}, errors.StepsRefused),
        ({"guidance": -0.1}, errors.StrengthRefused),
        ({"guidance": math.nan}, errors.StrengthRefused),
        ({"control_scale": 2.1}, errors.StrengthRefused),
        ({"control_end": 1.01}, errors.StrengthRefused),
        ({"seed": -1}, errors.StrengthRefused),
        ({"seed": 2**63}, errors.StrengthRefused),
    ],
)
def test_a_wrong_request_is_refused_for_its_reason(ask: Any, changes: dict[str, Any], refusal: type) -> None:
    with pytest.raises(refusal):
        check_request(ask("a", **changes), TINY)


def test_a_size_that_is_not_divisible_by_16_is_told_so(ask: Any) -> None:
    with pytest.raises(errors.SizeRefused, match=r"250x128 is not divisible by 16: choose one of 256x256"):
        check_request(ask("a", width=250), TINY)


def test_every_error_has_a_code_of_its_own() -> None:
    def tree(kind: type[ModelsError]) -> list[type[ModelsError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]

    codes = [kind.code for kind in tree(ModelsError)]
    assert len(set(codes)) == len(codes)
    assert all(f" {code}" in (errors.__doc__ or "") for code in codes)


@pytest.mark.parametrize("known", PROFILES.values(), ids=PROFILES)
def test_a_profile_draws_its_own_defaults(known: Profile) -> None:
    assert known.default_size in known.sizes
    assert known.lowest_steps <= known.default_steps <= known.highest_steps
    assert all(width % PIXEL_MULTIPLE == 0 == height % PIXEL_MULTIPLE for width, height in known.sizes)


def test_flux_has_the_numbers_its_makers_recommend() -> None:
    flux = FLUX1_DEV
    defaults = (flux.default_steps, flux.default_guidance, flux.default_control_scale, flux.default_control_end)
    assert defaults == (28, 3.5, 0.9, 0.65)


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(errors.UnknownProfile, match="choose one of mannequin, tiny, flux1-dev"):
        profile("flux9")
