"""The messages of the native WebSocket, made of a snapshot or of an event of Socket.IO's channel."""

from collections.abc import Mapping
from typing import Any

from posegen.snapshots import Snapshot
from posegen.statuses import EventType, GenerationStatus
from posegen.storage import Links
from posegen.tables import GeneratedPicture

Message = dict[str, Any]
_PICTURE = (
    *("poseId", "poseLibraryId", "outputImageUrl", "thumbnailUrl", "poseScore", "aiConfidenceScore"),
    *("status", "errorMessage"),
)
FINAL_EVENTS = (EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)


def message(type_: str, generation_id: str, facts: Mapping[str, Any]) -> Message:
    """Return a message in the one form."""
    return {"type": type_, "generationId": generation_id, "data": dict(facts)}


def refusal(generation_id: str, sentence: str) -> Message:
    """Return what goes wrong, as a sentence."""
    return message("error", generation_id, {"message": sentence})


def picture_message(row: GeneratedPicture, links: Links) -> Message:
    """Return the message of a picture that is final."""
    return message(
        "pose_completed",
        row.generation_id,
        {
            "generationId": row.generation_id,
            "poseId": row.id,
            "poseLibraryId": row.pose_library_id,
            "outputImageUrl": links.url(row.output_key) if row.output_key else None,
            "thumbnailUrl": links.url(row.thumbnail_key) if row.thumbnail_key else None,
            "poseScore": row.ai_confidence_score,
            "aiConfidenceScore": row.ai_confidence_score,
            "status": row.status,
            "errorMessage": row.error_message,
        },
    )


def progress_message(snapshot: Snapshot) -> Message:
    """Return the message of how far a generation is."""
    progress, generation_id = snapshot.progress, snapshot.generation.id
    return message(
        "progress",
        generation_id,
        {
            "generationId": generation_id,
            "progress": progress.percentage,
            "posesCompleted": progress.completed,
            "posesFailed": progress.failed,
            "totalPoses": progress.total,
            "estimatedTimeRemaining": progress.estimate.total_s,
        },
    )


def final_messages(snapshot: Snapshot) -> list[Message]:
    """Return the last messages of a generation that is final."""
    row = snapshot.generation
    counts = {
        "generationId": row.id,
        "status": row.status,
        "posesCompleted": row.poses_completed,
        "posesFailed": row.poses_failed,
        "totalPoses": row.total_expected_poses,
        "creditRefunded": row.credit_refunded,
    }
    failed = row.status == GenerationStatus.FAILED
    why = [refusal(row.id, row.error_message or "None of the pictures could be drawn.")] if failed else []
    return [*why, message("generation_completed", row.id, counts)]


def event_message(event: Mapping[str, Any]) -> Message | None:
    """Return the message of one event as it is on the other channel; None for what is not told here."""
    generation_id = str(event["generationId"])
    if event["type"] == EventType.POSE_COMPLETED:
        return message(
            "pose_completed",
            generation_id,
            {"generationId": generation_id, **{name: event.get(name) for name in _PICTURE}},
        )
    if event["type"] == EventType.PROGRESS:
        return message(
            "progress",
            generation_id,
            {
                "generationId": generation_id,
                "progress": event["percentage"],
                "posesCompleted": event["completed"],
                "posesFailed": event["failed"],
                "totalPoses": event["total"],
                "estimatedTimeRemaining": event["estimatedTimeRemaining"],
            },
        )
    return None
