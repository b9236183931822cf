"""Ordering pictures and following the order."""

from datetime import UTC, datetime
from typing import Any

from api.documentation.operation import Operation, Operations
from api.documentation.poses import PERSON
from api.documentation.story import (
    AVATAR,
    DRAWN,
    GENERATION,
    GENERATION_TOLD,
    NOBODY,
    PICTURE_TOLD,
    POSE,
    PROGRESS_TOLD,
    PROJECT,
    page,
)
from api.errors import TooManyRequests
from api.routes import POSE_GENERATOR
from posegen.errors import (
    Conflict,
    IdempotencyMismatch,
    NoProfileKnown,
    NotAvailableYet,
    NotEnoughCredits,
    NotFound,
    OutcomeUnknown,
    PosesNotFollowed,
    QuotaExceeded,
    WordingRefused,
)
from posegen.poses.errors import PoseRefused

_ONE = f"{POSE_GENERATOR}/generations/{{generation_id}}"
_NO_GENERATION = NotFound("generation", [NOBODY])
_ORDERS: dict[str, Any] = {
    "gallery": {
        "projectId": PROJECT,
        "generationType": "GALLERY_REFERENCE",
        "selectedPoseIds": [POSE],
        "batchSize": 2,
    },
    "words": {
        "projectId": PROJECT,
        "generationType": "TEXT_DESCRIPTION",
        "textPrompt": "standing with arms crossed, in a linen suit",
        "variationCount": 2,
    },
    "keyPoints": {
        "projectId": PROJECT,
        "generationType": "GALLERY_REFERENCE",
        "poses": [{"name": "my own stand", "people": [PERSON], "canvas_width": 512, "canvas_height": 512}],
        "batchSize": 2,
    },
    "avatarOnly": {"generationType": "GALLERY_REFERENCE", "avatarId": AVATAR, "selectedPoseIds": [POSE]},
    "everything": {
        "projectId": PROJECT,
        "generationType": "GALLERY_REFERENCE",
        "selectedPoseIds": [POSE],
        "textPrompt": "in a linen suit, on a beach",
        "batchSize": 1,
        "width": 1024,
        "height": 1024,
        "seed": 7,
        "steps": 28,
        "guidance": 3.5,
        "controlStrength": 0.9,
        "allowPoseless": False,
    },
}
_REFUSED_ORDER = (
    WordingRefused("textPrompt", "gore"),
    PoseRefused("poses[0].people[0]", "has no key-points"),
    NotAvailableYet("Exporting", "exportFormats"),
    NotFound("pose", [NOBODY]),
    PosesNotFollowed(),
    NoProfileKnown(),
)
_TAKEN: dict[str, Any] = {
    "success": True,
    "generationId": GENERATION,
    "status": "processing",
    "totalPosesExpected": 2,
    "creditCharged": 60,
    "estimatedCompletionTime": 12,
    "message": "2 pictures ordered for 60 credits.",
}
_TELLING: dict[str, Any] = {"generation": GENERATION_TOLD, "progress": PROGRESS_TOLD}
_PAYING = (
    NotEnoughCredits(required=60, balance=30),
    QuotaExceeded(required=2, remaining=1, daily_quota=100, resets_at=datetime(2026, 11, 25, tzinfo=UTC)),
    Conflict("The subscription has just ended; order again to pay with credits."),
    IdempotencyMismatch("b1946ac9-2f4c-4a05-9e43-8f6f6f0e1c54"),
    TooManyRequests(
        12,
        {
            "RateLimit-Policy": '"orders";q=5;w=60, "pictures";q=600;w=60',
            "RateLimit": '"orders";r=0;t=12, "pictures";r=590;t=12',
        },
    ),
    OutcomeUnknown(),
)
PLACING = (*_REFUSED_ORDER, *_PAYING)
PLACED_HEADERS = ("Location", "RateLimit-Policy", "RateLimit")

OPERATIONS: Operations = {
    f"POST {POSE_GENERATOR}/generate": Operation(
        id="placeOrder", requests=_ORDERS, answer=_TAKEN, refuses=PLACING, headers=PLACED_HEADERS
    ),
    f"POST {POSE_GENERATOR}/generate/quote": Operation(
        id="quoteOrder",
        requests=_ORDERS,
        answer={"totalPoses": 2, "creditCost": 60, "quotaUse": 0, "queueWaitS": 1.5, "drawingS": 10.4},
        refuses=_REFUSED_ORDER,
    ),
    f"GET {POSE_GENERATOR}/generations": Operation(
        id="listGenerations", answer={"generations": [GENERATION_TOLD], "pagination": page(1, 20)}
    ),
    f"GET {_ONE}": Operation(id="readGeneration", answer=_TELLING, refuses=(_NO_GENERATION,)),
    f"GET {_ONE}/results": Operation(
        id="readResults",
        answer={
            "results": [PICTURE_TOLD],
            "generation": {
                "id": GENERATION,
                "status": "processing",
                "totalPoses": 2,
                "successCount": 1,
                "failedCount": 0,
                "creditCharged": 60,
                "creditRefunded": 0,
            },
        },
        refuses=(_NO_GENERATION,),
    ),
    f"GET {_ONE}/poses": Operation(
        id="listPictures",
        answer={"poses": [PICTURE_TOLD], "pagination": page(1, 20)},
        refuses=(_NO_GENERATION,),
    ),
    f"POST {_ONE}/cancel": Operation(
        id="cancelGeneration",
        answer={
            "generation": {
                **GENERATION_TOLD,
                "status": "cancelled",
                "creditRefunded": 30,
                "completedAt": DRAWN,
                "totalProcessingTime": 10.78,
            },
            "progress": {
                **PROGRESS_TOLD,
                "currentStatus": "cancelled",
                "estimatedTimeRemaining": 0,
                "queuePosition": None,
                "drawingS": 0.0,
            },
        },
        refuses=(
            _NO_GENERATION,
            Conflict("This generation is completed; there is nothing left to cancel."),
        ),
    ),
    f"POST {_ONE}/retry": Operation(
        id="retryGeneration",
        answer=_TAKEN,
        refuses=(
            _NO_GENERATION,
            Conflict("The failed pictures of this generation were ordered again already."),
            WordingRefused("textPrompt", "gore"),
            NoProfileKnown(),
            *_PAYING,
        ),
        headers=PLACED_HEADERS,
    ),
}
