"""Ordering the failed pictures of a generation again: a new order at today's price, for what was given back.

A picture is drawn again as it was asked for (pose, prompt, size, steps), but with a seed drawn by lot: with the same
one, whatever came out black or broke the sampler would do so again, and the customer pays again for a fair chance.

Each undelivered item is repeated at most once (work_items.retry_of is unique), so a double click or a second retry of
the same generation never pays twice for one picture. What is retried is therefore the end of each failed picture's
chain of retries: nothing while its last retry is open or delivered, the last one again if that failed or was
cancelled too.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session, aliased

from posegen import quota
from posegen.errors import Conflict, NotFound
from posegen.estimates import estimate_of_generation
from posegen.idempotency import Repeatable, first_answer, keep_answer
from posegen.identifiers import new_id, new_seed
from posegen.orders import Admit, PlacedOrder, pay
from posegen.pose_control import check_pose_control
from posegen.prices import picture_price
from posegen.projects import ACTIVE
from posegen.statuses import FINAL_GENERATION_STATUSES, GenerationStatus, ItemKind, ItemStatus
from posegen.tables import Generation, Project, WorkItem
from posegen.wording import check_wording
from posegen.workforce import live_workers

UNDELIVERED = (ItemStatus.FAILED, ItemStatus.CANCELLED)
_AS_ORDERED = (
    *("generation_type", "text_prompt", "generated_pose_structure", "avatar_id", "avatar_attributes", "batch_size"),
    *("use_background_changer", "background_mode", "background_prompt", "background_color", "background_image_url"),
    *("export_formats", "loras", "profile", "allow_poseless"),
)
"""What a retry has in common with the generation it retries."""
_AS_ASKED = (
    *("kind", "variation_key", "part", "pose_id", "people", "prompt", "profile", "width_px", "height_px", "steps"),
    *("guidance", "control_scale", "control_end", "loras", "extras"),
)
"""What a picture has in common with the one it repeats."""


def retry_generation(
    session: Session,
    user_id: str,
    generation_id: str,
    *,
    profile_name: str,
    idempotency_key: str | None = None,
    admit: Admit | None = None,
    now: datetime,
) -> PlacedOrder:
    """Order the generation's failed pictures again. The caller commits, then rings.

    Raises NotFound, Conflict (it is still being drawn, nothing failed or all of it was retried, its project is
    archived or deleted, nobody draws its profile any more), PosesNotFollowed, WordingRefused, NotEnoughCredits or
    QuotaExceeded, IdempotencyMismatch, and what `admit` raises. A repeat with the same key returns the first answer,
    charges nothing and is not asked to be admitted.
    """
    repeatable = None
    if idempotency_key is not None:
        asked = {"generation_id": generation_id}
        repeatable = Repeatable(user_id=user_id, key=idempotency_key, call="retry", asked=asked)
        answered = first_answer(session, repeatable, now=now)
        if answered is not None:
            return PlacedOrder(**answered)
    original = _locked(session, user_id, generation_id)
    failed = _locked_ends(session, original)
    if admit is not None:
        admit(max(1, len(failed)))
    _check(session, original, failed, profile_name=profile_name, now=now)
    project = _locked_project(session, original)
    generation = _generation(session, original, len(failed), now)
    session.add(generation)
    session.flush()
    session.add_all(_again(item, generation) for item in failed)
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
        total_pictures=generation.total_expected_poses,
        credits_charged=generation.credit_charged,
        quota_charged=generation.quota_charged,
        estimated_s=estimate_of_generation(session, generation, now=now).total_s,
    )
    if repeatable is not None:
        keep_answer(session, repeatable, asdict(placed))
    return placed


def _locked(session: Session, user_id: str, generation_id: str) -> Generation:
    generation = session.scalars(
        select(Generation)
        .where(Generation.id == generation_id, Generation.user_id == user_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if generation is None:
        raise NotFound("generation", [generation_id])
    return generation


def _locked_ends(session: Session, generation: Generation) -> list[WorkItem]:
    """Return what to repeat, locked: of two retries at once, of this generation or of a retry of it, one gets each."""
    ids = [item.id for item in _ends(session, generation)]
    locked = session.scalars(
        select(WorkItem)
        .where(WorkItem.id.in_(ids))
        .order_by(WorkItem.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    repeated = set(session.scalars(select(WorkItem.retry_of).where(WorkItem.retry_of.in_(ids))))
    return [item for item in locked if item.id not in repeated]


def _ends(session: Session, generation: Generation) -> Sequence[WorkItem]:
    """Return the last retry of each failed picture (or the picture itself) that was not delivered either."""
    failed = (
        select(WorkItem.id)
        .where(
            WorkItem.generation_id == generation.id,
            WorkItem.kind == ItemKind.POSE,
            WorkItem.status == ItemStatus.FAILED,
        )
        .cte("chain", recursive=True)
    )
    again = aliased(WorkItem)
    chain = failed.union_all(select(again.id).where(again.retry_of == failed.c.id))
    repeated = select(WorkItem.retry_of).where(WorkItem.retry_of.in_(select(chain.c.id)))
    return session.scalars(
        select(WorkItem)
        .where(WorkItem.id.in_(select(chain.c.id)), WorkItem.id.not_in(repeated), WorkItem.status.in_(UNDELIVERED))
        .order_by(WorkItem.id)
    ).all()


def _check(
    session: Session, generation: Generation, failed: Sequence[WorkItem], *, profile_name: str, now: datetime
) -> None:
    if generation.status not in FINAL_GENERATION_STATUSES:
        raise Conflict("Pictures of this generation are still being drawn; retry what failed when it has ended.")
    if not generation.poses_failed:
        raise Conflict("No picture of this generation failed; there is nothing to retry.")
    if not failed:
        raise Conflict("The failed pictures of this generation were ordered again already.")
    drawn = {profile_name, *(worker.profile for worker in live_workers(session, now=now))}
    if generation.profile not in drawn:
        raise Conflict(f"No worker draws {generation.profile} any more; please order the poses anew.")
    needs_poses = not generation.allow_poseless and any(item.control_scale != 0 for item in failed)
    check_pose_control(session, generation.profile, needs_poses=needs_poses, now=now)
    if generation.text_prompt:
        check_wording(generation.text_prompt, field="textPrompt")
    for prompt in sorted({item.prompt for item in failed}):  # holds the names of own poses too
        check_wording(prompt, field="generationId")


def _locked_project(session: Session, generation: Generation) -> Project:
    """Return the generation's project, locked as an order locks it. Raises Conflict unless it is active."""
    project = session.scalars(
        select(Project)
        .where(Project.id == generation.project_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one()
    if project.status != ACTIVE:
        raise Conflict(f"The project of this generation is {project.status}; order the poses in another one.")
    return project


def _generation(session: Session, original: Generation, pictures: int, now: datetime) -> Generation:
    unlimited = quota.is_unlimited(session, original.user_id, now=now)
    price_credits = 0 if unlimited else picture_price(with_background=original.use_background_changer)
    return Generation(
        id=new_id(),
        project_id=original.project_id,
        user_id=original.user_id,
        **{name: getattr(original, name) for name in _AS_ORDERED},
        total_expected_poses=pictures,
        retry_of=original.id,
        status=GenerationStatus.PROCESSING,
        credit_charged=price_credits * pictures,
        unlimited=unlimited,
        quota_charged=pictures if unlimited else 0,
        quota_day=quota.day_of(now) if unlimited else None,
        created_at=now,
    )


def _again(item: WorkItem, generation: Generation) -> WorkItem:
    return WorkItem(
        id=new_id(),
        generation_id=generation.id,
        user_id=generation.user_id,
        **{name: getattr(item, name) for name in _AS_ASKED},
        retry_of=item.id,
        status=ItemStatus.QUEUED,
        seed=new_seed(),
        price_credits=generation.credit_charged // generation.total_expected_poses,
        unlimited=generation.unlimited,
        queued_at=generation.created_at,
        created_at=generation.created_at,
    )
