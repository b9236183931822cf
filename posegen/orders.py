"""Placing an order: checks, price and work in one transaction, so that there is never a charge without its pictures.

The order's pictures get their prompts, seeds and key-points here and never change afterwards: what the customer paid
for is what is drawn, whatever happens to the library, the avatar or the service's defaults in between.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import update
from sqlalchemy.orm import Session

from models.profiles import Profile, profile
from posegen import ledger, quota
from posegen.avatars import prompt_attributes
from posegen.errors import BadInput, FieldProblem
from posegen.estimates import estimate_of_generation
from posegen.idempotency import Repeatable, first_answer, keep_answer
from posegen.identifiers import SEED_LIMIT, new_id
from posegen.loras import Loras, check_merged, kept_loras, lora_problems, merged_loras, read_loras
from posegen.ordered_pictures import (
    OrderedPicture,
    OwnPose,
    library_pictures,
    own_pictures,
    seeds_from,
    worded_pictures,
)
from posegen.pose_control import check_pose_control
from posegen.prices import picture_price
from posegen.projects import OrderPlace, lock_place, place_of_order
from posegen.prompts import picture_prompt
from posegen.statuses import GenerationStatus, ItemKind, ItemStatus
from posegen.tables import Generation, Project, WorkItem
from posegen.tallies import CHARGED, ORDERED, ORDERS, happened
from posegen.wording import check_wording

GALLERY = "GALLERY_REFERENCE"
TEXT = "TEXT_DESCRIPTION"
MOST_POSES = 50
MOST_VARIATIONS = 6
MOST_TEXT_VARIATIONS = 10
Number = TypeVar("Number", int, float)
Admit = Callable[[int], None]
"""Asked with how many pictures a new order has, before it is written; what it raises refuses the order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as asked for. None: the profile's default.

    In gallery mode: poses of the library and own ones, times variations. In text mode the words choose the pose.
    Without an avatar it is the project's; without a project the order goes to the avatar's default one.
    """

    project_id: str | None
    pose_ids: tuple[str, ...]
    variations: int
    own_poses: tuple[OwnPose, ...] = ()
    generation_type: str = GALLERY
    avatar_id: str | None = None
    words: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    control_scale: float | None = None
    loras: Loras = ()
    allow_poseless: bool = False

    @property
    def total_pictures(self) -> int:
        """How many pictures are asked for."""
        poses = 1 if self.generation_type == TEXT else len(self.pose_ids) + len(self.own_poses)
        return poses * self.variations


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedOrder:
    """An order that can be drawn, before anybody paid: what it is for, and who draws it. Nothing is written yet."""

    order: Order
    place: OrderPlace
    pictures: Sequence[OrderedPicture]
    structure: dict[str, Any] | None
    loras: Loras
    drawn_by: Profile
    unlimited: bool

    @property
    def price_credits(self) -> int:
        """What each picture costs; the unlimited tier pays with its quota instead."""
        return 0 if self.unlimited else picture_price(with_background=False)

    @property
    def total_credits(self) -> int:
        """What the order costs."""
        return self.price_credits * self.order.total_pictures

    @property
    def total_quota(self) -> int:
        """How many pictures the order takes from the quota."""
        return self.order.total_pictures if self.unlimited else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedOrder:
    """The answer to an order, kept with its Idempotency-Key so that a repeat is told the same."""

    generation_id: str
    total_pictures: int
    credits_charged: int
    estimated_s: int | None
    quota_charged: int = 0


def place_order(
    session: Session,
    user_id: str,
    order: Order,
    *,
    profile_name: str,
    known_loras: Collection[str] = (),
    idempotency_key: str | None = None,
    admit: Admit | None = None,
    now: datetime,
) -> PlacedOrder:
    """Write the order, its charge and its work items. The caller commits, then rings.

    Raises NotFound (project, avatar, poses), BadInput (sizes, ranges, wording), Conflict (an archived project),
    PosesNotFollowed, NotEnoughCredits or QuotaExceeded, IdempotencyMismatch, and what `admit` raises. A repeat with the
    same key and order returns the first answer, charges nothing and is not asked to be admitted; a twin at the same
    time waits for the first and is a repeat too.
    """
    repeatable = None
    if idempotency_key is not None:
        repeatable = Repeatable(user_id=user_id, key=idempotency_key, call="generate", asked=asdict(order))
        answered = first_answer(session, repeatable, now=now)
        if answered is not None:
            return PlacedOrder(**answered)
    if admit is not None:
        admit(order.total_pictures)
    checked = check_order(session, user_id, order, profile_name=profile_name, known_loras=known_loras, now=now)
    project = lock_place(session, user_id, checked.place, now=now)
    generation = _generation(checked, project, now)
    session.add(generation)
    session.flush()
    session.add_all(_work_items(generation, checked))
    session.flush()
    session.execute(
        update(Project)
        .where(Project.id == project.id)
        .values(total_generations=Project.total_generations + 1, updated_at=now)
        .execution_options(synchronize_session=False)
    )
    pay(session, generation, project, now=now)
    placed = PlacedOrder(
        generation_id=generation.id,
        total_pictures=order.total_pictures,
        credits_charged=generation.credit_charged,
        quota_charged=generation.quota_charged,
        estimated_s=estimate_of_generation(session, generation, now=now).total_s,
    )
    if repeatable is not None:
        keep_answer(session, repeatable, asdict(placed))
    return placed


def check_order(
    session: Session,
    user_id: str,
    order: Order,
    *,
    profile_name: str,
    known_loras: Collection[str] = (),
    now: datetime,
) -> CheckedOrder:
    """Return the order with what it names. Writes nothing: a quote goes through it too.

    Raises NotFound (project, avatar, poses), BadInput (sizes, ranges, wording), Conflict (an archived project) and
    PosesNotFollowed.
    """
    drawn_by = profile(profile_name)
    place = place_of_order(session, user_id, order.project_id, order.avatar_id)
    _check(order, drawn_by, known_loras)
    needs_poses = not order.allow_poseless and order.control_scale != 0
    check_pose_control(session, drawn_by.name, needs_poses=needs_poses, now=now)
    loras = _loras(order, place, known_loras)
    pictures, structure = _pictures(session, order)
    return CheckedOrder(
        order=order,
        place=place,
        pictures=pictures,
        structure=structure,
        loras=loras,
        drawn_by=drawn_by,
        unlimited=quota.is_unlimited(session, user_id, now=now),
    )


def note_request(session: Session, generation_id: str, request_id: str | None) -> None:
    """Note with a new order which HTTP request it came by, so that whoever draws it can log that."""
    session.get_one(Generation, generation_id).request_id = request_id


def pay(session: Session, generation: Generation, project: Project, *, now: datetime) -> None:
    """Take what a new generation costs, from the quota or the balance. Locks the user, so it comes last.

    Raises QuotaExceeded, Conflict (the subscription has just ended) or NotEnoughCredits.
    """
    happened(session, ORDERS, kind="order" if generation.retry_of is None else "retry")
    happened(session, ORDERED, generation.total_expected_poses, profile=generation.profile)
    happened(session, CHARGED, generation.credit_charged)
    if generation.unlimited:
        generation.quota_day = quota.take(session, generation.user_id, generation.quota_charged, now=now)
        return
    ledger.charge(
        session,
        generation.user_id,
        generation.credit_charged,
        reference=generation.id,
        part=ledger.ORDER_PART,
        description=f"{_counted(generation.total_expected_poses)} for {project.project_name}",
        now=now,
    )


def _loras(order: Order, place: OrderPlace, known: Collection[str]) -> Loras:
    """Return what the order's pictures are drawn with: the avatar's LoRAs and its own. Raises BadInput."""
    own = () if place.avatar is None else read_loras(place.avatar.loras)
    loras = merged_loras(own, order.loras)
    check_merged(loras, known)
    return loras


def _check(order: Order, drawn_by: Profile, known_loras: Collection[str]) -> None:
    """Refuse what the profile cannot draw, naming every field at once."""
    problems = []
    size = _size(order, drawn_by)
    for field, count, highest in _counts(order):
        if not 1 <= count <= highest:
            problems.append(FieldProblem(field=field, message=f"{field} is 1 to {highest}."))
    if size not in drawn_by.sizes:
        named = ", ".join(f"{width}x{height}" for width, height in drawn_by.sizes)
        problems.append(
            FieldProblem(field="width", message=f"{size[0]}x{size[1]} is not drawn by {drawn_by.name}; choose {named}.")
        )
    for field, value, least, most in (
        ("steps", order.steps, drawn_by.lowest_steps, drawn_by.highest_steps),
        ("guidance", order.guidance, 0, drawn_by.highest_guidance),
        ("controlStrength", order.control_scale, 0, drawn_by.highest_control_scale),
        ("seed", order.seed, 0, SEED_LIMIT - 1),
    ):
        if value is not None and not least <= value <= most:
            problems.append(
                FieldProblem(
                    field=field, message=f"{field} is {_number(least)} to {_number(most)} for {drawn_by.name}."
                )
            )
    problems += lora_problems(order.loras, known_loras)
    if problems:
        raise BadInput(" ".join(problem.message for problem in problems), problems)
    if order.words:
        check_wording(order.words, field="textPrompt")
    elif order.generation_type == TEXT:
        message = "Describe the pictures in words."
        raise BadInput(message, [FieldProblem(field="textPrompt", message=message)])
    for index, own in enumerate(order.own_poses):
        check_wording(own.name or "", field=f"poses[{index}].name")


def _counts(order: Order) -> tuple[tuple[str, int, int], ...]:
    """Return what is counted in an order: the field, how many, and how many there may be."""
    if order.generation_type == TEXT:
        return (("variationCount", order.variations, MOST_TEXT_VARIATIONS),)
    return (
        ("selectedPoseIds", len(order.pose_ids) + len(order.own_poses), MOST_POSES),
        ("batchSize", order.variations, MOST_VARIATIONS),
    )


def _pictures(session: Session, order: Order) -> tuple[list[OrderedPicture], dict[str, Any] | None]:
    """Return every picture, in the order they were asked for, and how words chose their pose, if they did.

    A given seed counts up from picture to picture.
    """
    seeds = seeds_from(order.seed)
    if order.generation_type == TEXT:
        return worded_pictures(session, order.words or "", order.variations, seeds)
    chosen = library_pictures(session, order.pose_ids, order.variations, seeds)
    return chosen + own_pictures(order.own_poses, order.variations, seeds), None


def _generation(checked: CheckedOrder, project: Project, now: datetime) -> Generation:
    order, avatar = checked.order, checked.place.avatar
    return Generation(
        id=new_id(),
        project_id=project.id,
        user_id=project.user_id,
        generation_type=order.generation_type,
        text_prompt=order.words,
        generated_pose_structure=checked.structure,
        avatar_id=None if avatar is None else avatar.id,
        avatar_attributes=None if avatar is None else prompt_attributes(avatar),
        batch_size=order.variations,
        total_expected_poses=order.total_pictures,
        loras=kept_loras(checked.loras),
        profile=checked.drawn_by.name,
        allow_poseless=order.allow_poseless,
        status=GenerationStatus.PROCESSING,
        credit_charged=checked.total_credits,
        unlimited=checked.unlimited,
        quota_charged=checked.total_quota,
        quota_day=quota.day_of(now) if checked.unlimited else None,
        created_at=now,
    )


def _work_items(generation: Generation, checked: CheckedOrder) -> list[WorkItem]:
    order, drawn_by = checked.order, checked.drawn_by
    width_px, height_px = _size(order, drawn_by)
    return [
        WorkItem(
            kind=ItemKind.POSE,
            generation_id=generation.id,
            user_id=generation.user_id,
            status=ItemStatus.QUEUED,
            variation_key=picture.variation_key,
            part=picture.variation_key,
            pose_id=picture.pose_id,
            people=picture.people,
            prompt=picture_prompt(
                attributes=generation.avatar_attributes,
                words=order.words,
                pose_name=picture.pose_name,
                pose_description=picture.pose_description,
                people=len(picture.people["people"]),
            ),
            seed=picture.seed,
            profile=drawn_by.name,
            width_px=width_px,
            height_px=height_px,
            steps=_given(order.steps, drawn_by.default_steps),
            guidance=_given(order.guidance, drawn_by.default_guidance),
            control_scale=_given(order.control_scale, drawn_by.default_control_scale),
            control_end=drawn_by.default_control_end,
            loras=kept_loras(checked.loras),
            price_credits=checked.price_credits,
            unlimited=checked.unlimited,
            queued_at=generation.created_at,
            created_at=generation.created_at,
        )
        for picture in checked.pictures
    ]


def _size(order: Order, drawn_by: Profile) -> tuple[int, int]:
    return order.width_px or drawn_by.default_size[0], order.height_px or drawn_by.default_size[1]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _counted(pictures: int) -> str:
    return "1 picture" if pictures == 1 else f"{pictures} pictures"


def _given(value: Number | None, default: Number) -> Number:
    return default if value is None else value
