"""What a customer has and has used, and what operators ask."""

from typing import Any

from api.documentation.operation import Operation, Operations
from api.documentation.story import DRAWN, NOBODY, ORDERED, PICTURE, PICTURE_TOLD, POSE, POSE_TOLD
from api.errors import Forbidden
from api.routes import POSE_GENERATOR
from posegen.errors import NotFound

_HEALTHY: dict[str, Any] = {
    "status": "healthy",
    "timestamp": DRAWN,
    "app": "pose-generator",
    "version": "0.1.0",
    "checks": {
        "database": {"status": "healthy", "dialect": "postgresql"},
        "redis": {"status": "healthy"},
        "queue": {
            "status": "healthy",
            "counts": {"waiting": 0, "active": 1, "completed": 4, "failed": 0, "delayed": 0},
        },
        "controlNet": {"status": "healthy", "profiles": ["flux1-dev"]},
    },
    "workers": [],
}

OPERATIONS: Operations = {
    f"PUT {POSE_GENERATOR}/poses/{{picture_id}}/favorite": Operation(
        id="markFavorite",
        requests={"favourite": {"isFavorite": True}},
        answer={
            "success": True,
            "poseId": PICTURE,
            "isFavorite": True,
            "pose": {**PICTURE_TOLD, "isFavorite": True},
        },
        refuses=(NotFound("picture", [NOBODY]),),
    ),
    f"GET {POSE_GENERATOR}/credits": Operation(
        id="readCredits",
        answer={
            "balance": 940,
            "unlimited": {
                "active": False,
                "dailyQuota": 100,
                "used": 0,
                "remaining": 0,
                "resetAt": "2026-11-25T00:00:00.000Z",
                "expiresAt": None,
            },
        },
    ),
    f"GET {POSE_GENERATOR}/stats": Operation(
        id="readStatistics",
        answer={
            "totalPosesGenerated": 1,
            "totalProjects": 1,
            "totalGenerations": 1,
            "recentGenerations": 1,
            "creditUsage": {"totalSpent": 60, "last30Days": 60, "averagePerGeneration": 60.0},
            "topUsedPoses": [
                {
                    "poseId": POSE,
                    "poseName": POSE_TOLD["name"],
                    "usageCount": 1,
                    "previewUrl": POSE_TOLD["thumbnailUrl"],
                }
            ],
        },
    ),
    f"GET {POSE_GENERATOR}/health": Operation(
        id="readHealth", answer=_HEALTHY, headers=("Cache-Control",), reads_database=False
    ),
    f"GET {POSE_GENERATOR}/recovery/status": Operation(
        id="readRecovery",
        answer={
            "stalledGenerations": 0,
            "queuedGenerations": 1,
            "processingGenerations": 1,
            "lastRecoveryRun": ORDERED,
        },
        refuses=(Forbidden(),),
    ),
    f"POST {POSE_GENERATOR}/recovery/trigger": Operation(
        id="triggerRecovery",
        answer={"success": True, "recovered": 1, "failed": 0, "rung": 1},
        refuses=(Forbidden(),),
    ),
}
