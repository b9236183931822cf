"""What goes where on which card, without torch and without a card."""

from dataclasses import replace

import pytest

from models.errors import CardTooSmall
from models.memory_plan import (
    GIB,
    Decoding,
    Modulation,
    Offload,
    Plan,
    TextPlace,
    WeightPrecision,
    nominal_bytes,
    plan_memory,
)
from models.profiles import FLUX1_DEV, FLUX1_DEV_UNIONPRO, TINY, Profile

CARDS_GB = (12, 16, 24, 32, 48, 80, 141)
BOTH = (FLUX1_DEV, FLUX1_DEV_UNIONPRO)
BF16, FP8, INT8, NF4 = WeightPrecision
LIVE, TABLES = Modulation
RESIDENT, MOVED, STREAMED = TextPlace


def planned(profile: Profile, card_gb: float, precision: WeightPrecision | None = None) -> Plan:
    return plan_memory(profile, nominal_bytes(card_gb), precision=precision)


@pytest.mark.parametrize(
    ("profile", "card_gb", "text", "modulation", "offload"),
    [
        (FLUX1_DEV, 12, STREAMED, TABLES, Offload.BOTH),
        (FLUX1_DEV, 16, STREAMED, TABLES, Offload.BOTH),
        (FLUX1_DEV, 24, STREAMED, TABLES, Offload.NONE),
        (FLUX1_DEV, 32, STREAMED, LIVE, Offload.NONE),
        (FLUX1_DEV, 48, RESIDENT, LIVE, Offload.NONE),
        (FLUX1_DEV, 80, RESIDENT, LIVE, Offload.NONE),
        (FLUX1_DEV, 141, RESIDENT, LIVE, Offload.NONE),
        (FLUX1_DEV_UNIONPRO, 12, STREAMED, TABLES, Offload.BOTH),
        (FLUX1_DEV_UNIONPRO, 16, STREAMED, TABLES, Offload.BOTH),
        (FLUX1_DEV_UNIONPRO, 24, STREAMED, TABLES, Offload.CONTROLNET),
        (FLUX1_DEV_UNIONPRO, 32, STREAMED, TABLES, Offload.NONE),
        (FLUX1_DEV_UNIONPRO, 48, RESIDENT, LIVE, Offload.NONE),
        (FLUX1_DEV_UNIONPRO, 80, RESIDENT, LIVE, Offload.NONE),
        (FLUX1_DEV_UNIONPRO, 141, RESIDENT, LIVE, Offload.NONE),
    ],
)
def test_every_card_draws_the_published_weights_as_near_as_it_can_hold_them(
    profile: Profile, card_gb: int, text: TextPlace, modulation: Modulation, offload: Offload
) -> None:
    plan = planned(profile, card_gb)
    assert (plan.text, plan.modulation, plan.offload) == (text, modulation, offload)
    assert plan.is_lossless
    assert plan.precision is plan.controlnet_precision is BF16


@pytest.mark.parametrize(
    ("card_gb", "precision", "controlnet", "text", "modulation"),
    [
        (12, NF4, BF16, STREAMED, TABLES),
        (16, FP8, BF16, STREAMED, TABLES),
        (16, INT8, BF16, STREAMED, TABLES),
        (24, FP8, BF16, STREAMED, LIVE),
        (32, FP8, BF16, MOVED, LIVE),
        (32, NF4, BF16, RESIDENT, LIVE),
        (48, FP8, BF16, RESIDENT, LIVE),
    ],
)
def test_smaller_weights_are_used_where_they_are_asked_for(
    card_gb: int, precision: WeightPrecision, controlnet: WeightPrecision, text: TextPlace, modulation: Modulation
) -> None:
    plan = planned(FLUX1_DEV, card_gb, precision)
    assert (plan.precision, plan.controlnet_precision) == (precision, controlnet)
    assert (plan.text, plan.modulation, plan.offload) == (text, modulation, Offload.NONE)
    assert not plan.is_lossless


def test_the_controlnet_is_made_smaller_only_where_it_does_not_fit_otherwise() -> None:
    assert planned(FLUX1_DEV_UNIONPRO, 16, FP8).controlnet_precision is FP8
    assert planned(FLUX1_DEV_UNIONPRO, 24, FP8).controlnet_precision is BF16


@pytest.mark.parametrize("profile", BOTH, ids=lambda profile: profile.name)
@pytest.mark.parametrize("precision", [None, *WeightPrecision])
@pytest.mark.parametrize("card_gb", [8, *CARDS_GB])
def test_no_plan_takes_more_than_the_card_has(
    profile: Profile, card_gb: int, precision: WeightPrecision | None
) -> None:
    try:
        plan = planned(profile, card_gb, precision)
    except CardTooSmall:
        return
    settled = plan.used_bytes - plan.lines[-1].bytes
    assert plan.used_bytes <= plan.card_bytes
    for size, rows in plan.rows:
        assert rows >= 1
        assert settled + rows * 1.1 * profile.footprint.forward_bytes(size, 512) <= plan.card_bytes


@pytest.mark.parametrize("profile", BOTH, ids=lambda profile: profile.name)
def test_a_larger_card_is_never_planned_worse(profile: Profile) -> None:
    def goodness(plan: Plan) -> tuple[int, int, int]:
        ways = list(Offload), list(Modulation), list(TextPlace)
        chosen = plan.offload, plan.modulation, plan.text
        offload, modulation, text = (-way.index(one) for way, one in zip(ways, chosen, strict=True))  # type: ignore[arg-type]
        return offload, modulation, text

    plans = [goodness(planned(profile, card_gb)) for card_gb in range(8, 160)]
    assert plans == sorted(plans)


@pytest.mark.parametrize("profile", BOTH, ids=lambda profile: profile.name)
def test_small_pictures_share_a_forward_in_larger_numbers(profile: Profile) -> None:
    for card_gb in CARDS_GB:
        plan = planned(profile, card_gb)
        assert plan.most_rows((512, 512)) > plan.most_rows((1024, 1024))


def test_bf16_is_the_same_as_not_asking() -> None:
    assert planned(FLUX1_DEV, 24, BF16) == planned(FLUX1_DEV, 24)


def test_a_card_with_room_takes_pictures_through_the_autoencoder_together() -> None:
    assert planned(FLUX1_DEV, 24).decoding is Decoding.SLICED
    assert planned(FLUX1_DEV, 80).decoding is Decoding.GROUPED


def test_decoding_one_picture_is_never_what_takes_most_of_a_small_card() -> None:
    for profile in BOTH:
        assert "prompts" in planned(profile, 12).lines[-1].what


def test_a_second_try_in_fp32_is_for_cards_that_hold_everything_twice() -> None:
    assert planned(FLUX1_DEV, 141).precise_retry
    assert not planned(FLUX1_DEV, 48).precise_retry
    assert not planned(FLUX1_DEV, 141, FP8).precise_retry


def test_a_card_that_is_too_small_is_told_what_would_do() -> None:
    with pytest.raises(CardTooSmall, match=r"flux1-dev in fp8 .* 11\.0 GiB .*a card with 1\d\.\d GiB") as raised:
        planned(FLUX1_DEV, 12, FP8)
    assert "--precision nf4" in raised.value.would_fit
    assert "--precision int8" not in raised.value.would_fit


def test_a_card_that_nothing_fits_is_told_how_large_one_must_be() -> None:
    with pytest.raises(CardTooSmall) as raised:
        planned(FLUX1_DEV, 4)
    assert raised.value.would_fit == "a card with 5.7 GiB"


def test_what_waits_on_the_host_must_fit_it() -> None:
    card = nominal_bytes(16)
    needed = planned(FLUX1_DEV, 16).host_bytes
    assert plan_memory(FLUX1_DEV, card, host_bytes=needed).offload is Offload.BOTH
    with pytest.raises(CardTooSmall, match=r"a host with 35\.0 GiB of free memory") as raised:
        plan_memory(FLUX1_DEV, card, host_bytes=needed - 1)
    assert "--precision fp8" in raised.value.would_fit


def test_other_networks_than_the_profiles_are_planned_by_their_own_counts() -> None:
    plan = plan_memory(FLUX1_DEV, 2 * GIB, footprint=TINY.footprint)
    assert (plan.text, plan.modulation, plan.offload) == (RESIDENT, LIVE, Offload.NONE)


def test_what_a_plan_takes_grows_with_its_networks() -> None:
    footprint = FLUX1_DEV.footprint
    larger = replace(footprint, vae=replace(footprint.vae, parameters=footprint.vae.parameters + GIB))
    card = nominal_bytes(80)
    grown = plan_memory(FLUX1_DEV, card, footprint=larger).used_bytes
    assert grown - plan_memory(FLUX1_DEV, card).used_bytes == 2 * GIB


@pytest.mark.parametrize("card_gb", CARDS_GB)
def test_every_plan_says_why(card_gb: int) -> None:
    plan = planned(FLUX1_DEV, card_gb)
    assert plan.reasons[0] == "weights in bf16, as published: lossless"
    assert len(plan.reasons) >= 2
