"""The pose library, and wishes for poses that it lacks."""

from typing import Any

from api.documentation.operation import Operation, Operations
from api.documentation.story import ANN, CATEGORY_TOLD, MORNING, NOBODY, ORDERED, POSE_TOLD, page
from api.routes import POSE_GENERATOR
from posegen.errors import NotFound

_NO_CATEGORY = NotFound("category", ["flying"])
_STANDING: dict[str, Any] = {
    **CATEGORY_TOLD,
    "id": CATEGORY_TOLD["parentId"],
    "name": "standing",
    "displayName": "Standing",
    "description": "Full-length standing poses for look books, catalogues and product pages.",
    "slug": "standing",
    "parentId": None,
    "displayOrder": 1,
    "poseCount": 9,
    "createdAt": MORNING,
    "children": [{**CATEGORY_TOLD, "poseCount": 9}],
}
_WISH: dict[str, Any] = {
    "poseName": "Leap over a puddle",
    "description": "A long leap with a coat that flies behind.",
    "useCase": "Rainwear campaign",
}
_REQUEST: dict[str, Any] = {
    "id": "01a20bbd-268d-7645-929b-e6cb60113203",
    "userId": ANN,
    "categoryId": None,
    "referenceImageUrl": None,
    **_WISH,
    "status": "pending",
    "votesCount": 1,
    "adminNotes": None,
    "completedPoseId": None,
    "createdAt": ORDERED,
    "updatedAt": ORDERED,
}

OPERATIONS: Operations = {
    f"GET {POSE_GENERATOR}/library": Operation(
        id="listLibraryPoses",
        answer={"poses": [POSE_TOLD], "pagination": page(60, 24)},
        refuses=(_NO_CATEGORY,),
    ),
    f"GET {POSE_GENERATOR}/library/{{pose_id}}": Operation(
        id="readLibraryPose", answer={"pose": POSE_TOLD}, refuses=(NotFound("pose", [NOBODY]),)
    ),
    f"GET {POSE_GENERATOR}/categories": Operation(
        id="listCategories", answer={"categories": [_STANDING], "totalCategories": 2}
    ),
    f"POST {POSE_GENERATOR}/requests": Operation(
        id="requestPose",
        requests={"wish": _WISH},
        answer={"request": _REQUEST, "message": "Thank you; the pose was asked for."},
        refuses=(_NO_CATEGORY,),
    ),
    f"GET {POSE_GENERATOR}/requests": Operation(
        id="listPoseRequests", answer={"requests": [_REQUEST], "pagination": page(1, 20)}
    ),
}
