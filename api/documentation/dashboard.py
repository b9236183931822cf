"""What a studio's frontend shows on its dashboard, and stored pictures by their links."""

from typing import Any

from api.documentation.operation import Operation, Operations
from api.documentation.story import GENERATION, MORNING, ORDERED, PICTURE_TOLD
from api.wire.dashboard import APPS
from posegen.errors import NotFound, StorageAway
from posegen.storage import FILES_PATH

_TILES: dict[str, Any] = {
    "generations": [
        {
            "id": GENERATION,
            "appId": "pose-generator",
            "projectName": "Spring look book",
            "status": "processing",
            "outputPaths": [PICTURE_TOLD["outputImageUrl"]],
            "thumbnailUrl": PICTURE_TOLD["thumbnailUrl"],
            "createdAt": ORDERED,
            "fileCount": 1,
        }
    ]
}

OPERATIONS: Operations = {
    "GET /api/apps": Operation(
        id="listApps", answer={"apps": [app.model_dump(mode="json", by_alias=True) for app in APPS]}
    ),
    "GET /api/generations": Operation(id="listWorks", answer=_TILES),
    "GET /api/generations/recent": Operation(id="listRecentWorks", answer=_TILES),
    "GET /api/stats/dashboard": Operation(
        id="readDashboard",
        answer={"totalSpending": 60, "totalWorks": 1, "totalProjects": 1, "lastLogin": MORNING},
    ),
    f"GET {FILES_PATH}/{{token}}/{{name}}": Operation(
        id="openFile",
        refuses=(
            NotFound("file", ["with this link (it has expired)"]),
            StorageAway("pictures/01a20bbd-25b4-71c2-87ac-ebd0019a46c8-1.png"),
        ),
        headers=("ETag", "Cache-Control"),
    ),
}
