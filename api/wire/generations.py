"""Generations and their pictures on the wire."""

from collections.abc import Sequence
from typing import Annotated, Any

from api.wire.base import Moment, Pagination, Told, one_of
from api.wire.library import url_or_none
from api.wire.loras import LoraTold
from posegen.generations import Progress, percentage
from posegen.orders import GALLERY, TEXT
from posegen.paging import Paged
from posegen.statuses import GenerationStatus
from posegen.storage import Links
from posegen.tables import GeneratedPicture, Generation


class GenerationTold(Told):
    """An order with its counts and credits; times are in seconds."""

    id: str
    project_id: str
    user_id: str
    generation_type: Annotated[str, one_of((GALLERY, TEXT))]
    text_prompt: str | None
    generated_pose_structure: dict[str, Any] | None
    avatar_id: str | None
    avatar_attributes: dict[str, Any] | None
    batch_size: int
    total_expected_poses: int
    use_background_changer: bool
    background_prompt: str | None
    background_mode: str | None
    export_formats: list[str]
    loras: list[LoraTold]
    status: Annotated[str, one_of(GenerationStatus)]
    progress: int
    poses_completed: int
    poses_failed: int
    credit_charged: int
    credit_refunded: int
    queue_job_id: str | None
    retry_of: str | None
    error_message: str | None
    created_at: Moment
    started_at: Moment | None
    completed_at: Moment | None
    avg_generation_time: float | None
    total_processing_time: float | None

    @classmethod
    def of(cls, row: Generation) -> "GenerationTold":
        """Describe a generation."""
        return cls(
            id=row.id,
            project_id=row.project_id,
            user_id=row.user_id,
            generation_type=row.generation_type,
            text_prompt=row.text_prompt,
            generated_pose_structure=row.generated_pose_structure,
            avatar_id=row.avatar_id,
            avatar_attributes=row.avatar_attributes,
            batch_size=row.batch_size,
            total_expected_poses=row.total_expected_poses,
            use_background_changer=row.use_background_changer,
            background_prompt=row.background_prompt,
            background_mode=row.background_mode,
            export_formats=row.export_formats,
            loras=LoraTold.all_of(row.loras),
            status=row.status,
            progress=percentage(row),
            poses_completed=row.poses_completed,
            poses_failed=row.poses_failed,
            credit_charged=row.credit_charged,
            credit_refunded=row.credit_refunded,
            queue_job_id=row.queue_job_id,
            retry_of=row.retry_of,
            error_message=row.error_message,
            created_at=row.created_at,
            started_at=row.started_at,
            completed_at=row.completed_at,
            avg_generation_time=round(row.drawing_s / row.poses_completed, 3) if row.poses_completed else None,
            total_processing_time=_processing_s(row),
        )


class ProgressTold(Told):
    """How far a generation is, and when the rest will be drawn. `queue_position` is its next waiting picture's."""

    percentage: int
    poses_completed: int
    poses_failed: int
    poses_total: int
    current_status: Annotated[str, one_of(GenerationStatus)]
    estimated_time_remaining: int | None
    queue_position: int | None
    queue_wait_s: float | None
    drawing_s: float | None

    @classmethod
    def of(cls, progress: Progress) -> "ProgressTold":
        """Describe how far it is."""
        return cls(
            percentage=progress.percentage,
            poses_completed=progress.completed,
            poses_failed=progress.failed,
            poses_total=progress.total,
            current_status=progress.status,
            estimated_time_remaining=progress.estimate.total_s,
            queue_position=progress.estimate.position,
            queue_wait_s=progress.estimate.queue_wait_s,
            drawing_s=progress.estimate.drawing_s,
        )


class GenerationAndProgress(Told):
    """A generation and how far it is."""

    generation: GenerationTold
    progress: ProgressTold

    @classmethod
    def of(cls, row: Generation, progress: Progress) -> "GenerationAndProgress":
        """Describe a generation and how far it is."""
        return cls(generation=GenerationTold.of(row), progress=ProgressTold.of(progress))


class GenerationsTold(Told):
    """A page of generations."""

    generations: list[GenerationTold]
    pagination: Pagination

    @classmethod
    def of(cls, paged: Paged[Generation]) -> "GenerationsTold":
        """Describe a page."""
        return cls(generations=[GenerationTold.of(row) for row in paged.rows], pagination=Pagination.of(paged))


class PictureTold(Told):
    """A picture that is final: delivered, or failed with the reason."""

    id: str
    generation_id: str
    pose_library_id: str | None
    variation_key: str
    status: Annotated[str, one_of(("completed", "failed"))]
    output_image_url: str | None
    thumbnail_url: str | None
    original_image_url: str | None
    export_formats: dict[str, str]
    background_changed: bool
    background_prompt: str | None
    prompt_used: str | None
    seed_used: int | None
    controlnet_weight: float | None
    loras: list[LoraTold]
    generation_time: float | None
    pose_score: float | None
    ai_confidence_score: float | None
    backend: str | None
    pose_applied: bool
    identity_applied: bool
    licence: str | None
    width: int
    height: int
    is_favorite: bool
    download_count: int
    error_message: str | None
    created_at: Moment

    @classmethod
    def of(cls, row: GeneratedPicture, links: Links) -> "PictureTold":
        """Describe a picture, with links to its files."""
        return cls(
            id=row.id,
            generation_id=row.generation_id,
            pose_library_id=row.pose_library_id,
            variation_key=row.variation_key,
            status=row.status,
            output_image_url=url_or_none(links, row.output_key),
            thumbnail_url=url_or_none(links, row.thumbnail_key),
            original_image_url=url_or_none(links, row.original_key),
            export_formats={name: links.url(key) for name, key in row.export_keys.items()},
            background_changed=row.background_changed,
            background_prompt=row.background_prompt,
            prompt_used=row.prompt_used,
            seed_used=row.seed_used,
            controlnet_weight=row.controlnet_weight,
            loras=LoraTold.all_of(row.loras),
            generation_time=row.generation_time_s,
            pose_score=row.ai_confidence_score,
            ai_confidence_score=row.ai_confidence_score,
            backend=row.backend,
            pose_applied=row.pose_applied,
            identity_applied=row.identity_applied,
            licence=row.licence,
            width=row.width_px,
            height=row.height_px,
            is_favorite=row.is_favorite,
            download_count=row.download_count,
            error_message=row.error_message,
            created_at=row.created_at,
        )


class PicturesTold(Told):
    """A page of a generation's pictures."""

    poses: list[PictureTold]
    pagination: Pagination

    @classmethod
    def of(cls, paged: Paged[GeneratedPicture], links: Links) -> "PicturesTold":
        """Describe a page."""
        return cls(poses=[PictureTold.of(row, links) for row in paged.rows], pagination=Pagination.of(paged))


class ResultCounts(Told):
    """What became of a generation, in numbers."""

    id: str
    status: Annotated[str, one_of(GenerationStatus)]
    total_poses: int
    success_count: int
    failed_count: int
    credit_charged: int
    credit_refunded: int


class ResultsTold(Told):
    """All pictures of a generation so far."""

    results: list[PictureTold]
    generation: ResultCounts

    @classmethod
    def of(cls, row: Generation, pictures: Sequence[GeneratedPicture], links: Links) -> "ResultsTold":
        """Describe what is there so far."""
        counts = ResultCounts(
            id=row.id,
            status=row.status,
            total_poses=row.total_expected_poses,
            success_count=row.poses_completed,
            failed_count=row.poses_failed,
            credit_charged=row.credit_charged,
            credit_refunded=row.credit_refunded,
        )
        return cls(results=[PictureTold.of(picture, links) for picture in pictures], generation=counts)


def _processing_s(row: Generation) -> float | None:
    if row.started_at is None or row.completed_at is None:
        return None
    return round((row.completed_at - row.started_at).total_seconds(), 3)
