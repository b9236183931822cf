"""The people and things of every example: Ann, her avatar, her project, one library pose and one order of two pictures.

Parts of examples that several operations answer with stand here, so that one story is told throughout.
"""

from typing import Any, Final

ANN: Final = "01a20bbd-232d-73e2-a39e-a1fe4eb9818c"
AVATAR: Final = "01a20bbd-23d6-7164-9d25-23e255ddb073"
FOLDER: Final = "01a20bbd-23e0-735a-bc4c-2cc12ef8eb7f"
PROJECT: Final = "01a20bbd-24a6-75fb-93aa-a0314d97dc23"
POSE: Final = "01a20bbd-20c8-760b-a67a-64256ee3adcc"
CATEGORY: Final = "01a20bbd-2044-7360-92c2-a46997ba0ad2"
GENERATION: Final = "01a20bbd-25ae-7173-af19-8f3848e0be45"
PICTURE: Final = "01a20bbd-25ef-7746-9cb4-2bba68d450f0"
NOBODY: Final = "01a20bbd-0000-7000-8000-000000000000"
"""An id of nothing."""
TOKEN: Final = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VySWQiOiIwMWEyMGJiZC0y..."  # noqa: S105
FILES: Final = "/api/apps/pose-generator/files"
MORNING: Final = "2026-11-24T09:00:00.000Z"
ORDERED: Final = "2026-11-24T09:12:30.250Z"
DRAWN: Final = "2026-11-24T09:12:41.800Z"


def link(name: str) -> str:
    """Return a signed link to a file, as it looks."""
    return f"{FILES}/WyJwaWN0dXJlcy8wMWEyMGJiZC0yNWI0LTcxYzIi.TC5fcQFb-iuXOHj6pwk9ncvWdq8/{name}"


def page(total: int, limit: int) -> dict[str, Any]:
    """Return the first page's pagination."""
    pages = -(-total // limit)
    return {"page": 1, "limit": limit, "total": total, "totalPages": pages, "hasMore": pages > 1}


USER: Final[dict[str, Any]] = {
    "id": ANN,
    "email": "ann@studio.example",
    "name": "Ann",
    "role": "user",
    "creditBalance": 940,
    "createdAt": MORNING,
}
LOOKS: Final[dict[str, Any]] = {
    "gender": "female",
    "ageRange": "25-34",
    "ethnicity": "Indonesian",
    "bodyType": "athletic",
    "hairStyle": "shoulder-length",
    "hairColor": "black",
    "eyeColor": "brown",
    "skinTone": "light brown",
    "style": "photorealistic",
}
AVATAR_TOLD: Final[dict[str, Any]] = {
    "id": AVATAR,
    "name": "Ann in the studio",
    "loras": [{"name": "film-grain", "strength": 0.6}],
    "baseImageUrl": link("01a20bbd-23c6-73a1.jpg"),
    "thumbnailUrl": link("01a20bbd-23c6-73a1-thumb.webp"),
    "width": 1024,
    "height": 1024,
    **LOOKS,
    "projectId": None,
    "createdAt": MORNING,
    "updatedAt": MORNING,
}
CATEGORY_TOLD: Final[dict[str, Any]] = {
    "id": CATEGORY,
    "name": "standing everyday",
    "displayName": "Everyday",
    "description": "Easy, natural stands for basics, catalogues and avatars.",
    "slug": "standing-everyday",
    "parentId": "01a20bbd-2043-73ae-beb8-72f5fa5db563",
    "icon": "person-standing",
    "displayOrder": 2,
    "color": "#3F5E8C",
    "poseCount": None,
    "isActive": True,
    "createdAt": MORNING,
    "updatedAt": MORNING,
    "children": [],
}
POSE_TOLD: Final[dict[str, Any]] = {
    "id": POSE,
    "slug": "relaxed-front-stand",
    "name": "Relaxed front stand",
    "description": "standing upright and relaxed, facing the camera, arms hanging loosely",
    "categoryId": CATEGORY,
    "previewImageUrl": link("preview-a1ea54703b72ce60.png"),
    "referenceImageUrl": None,
    "controlnetImageUrl": link("map-a1ea54703b72ce60.png"),
    "thumbnailUrl": link("thumb-a1ea54703b72ce60.png"),
    "difficulty": "beginner",
    "genderSuitability": "unisex",
    "tags": ["full body", "front view", "catalogue"],
    "sourceType": "curated",
    "sourceCredit": "Posegen",
    "licenseType": "Apache-2.0",
    "usageCount": 12,
    "favoriteCount": 3,
    "ratingAvg": None,
    "popularityScore": 18.0,
    "isPublic": True,
    "isFeatured": False,
    "isPremium": False,
    "createdAt": MORNING,
    "updatedAt": MORNING,
    "category": CATEGORY_TOLD,
}
GENERATION_TOLD: Final[dict[str, Any]] = {
    "id": GENERATION,
    "projectId": PROJECT,
    "userId": ANN,
    "generationType": "GALLERY_REFERENCE",
    "textPrompt": None,
    "generatedPoseStructure": None,
    "avatarId": AVATAR,
    "avatarAttributes": {"gender": "female", "ageRange": "25-34"},
    "batchSize": 2,
    "totalExpectedPoses": 2,
    "useBackgroundChanger": False,
    "backgroundPrompt": None,
    "backgroundMode": None,
    "exportFormats": [],
    "loras": [{"name": "film-grain", "strength": 0.6}],
    "status": "processing",
    "progress": 50,
    "posesCompleted": 1,
    "posesFailed": 0,
    "creditCharged": 60,
    "creditRefunded": 0,
    "queueJobId": None,
    "retryOf": None,
    "errorMessage": None,
    "createdAt": ORDERED,
    "startedAt": "2026-11-24T09:12:31.020Z",
    "completedAt": None,
    "avgGenerationTime": 5.21,
    "totalProcessingTime": None,
}
PROGRESS_TOLD: Final[dict[str, Any]] = {
    "percentage": 50,
    "posesCompleted": 1,
    "posesFailed": 0,
    "posesTotal": 2,
    "currentStatus": "processing",
    "estimatedTimeRemaining": 6,
    "queuePosition": 1,
    "queueWaitS": 0.0,
    "drawingS": 5.4,
}
PICTURE_TOLD: Final[dict[str, Any]] = {
    "id": PICTURE,
    "generationId": GENERATION,
    "poseLibraryId": POSE,
    "variationKey": f"{POSE}-v0",
    "status": "completed",
    "outputImageUrl": link("01a20bbd-25b4-71c2-87ac-ebd0019a46c8-1.png"),
    "thumbnailUrl": link("01a20bbd-25b4-71c2-87ac-ebd0019a46c8-1.webp"),
    "originalImageUrl": None,
    "exportFormats": {},
    "backgroundChanged": False,
    "backgroundPrompt": None,
    "promptUsed": "25-34, female person, Relaxed front stand, standing upright and relaxed, facing the camera, arms "
    "hanging loosely, professional photography, sharp focus, detailed, soft lighting",
    "seedUsed": 3822989921,
    "controlnetWeight": 0.9,
    "loras": [{"name": "film-grain", "strength": 0.6}],
    "generationTime": 5.21,
    "poseScore": 0.87,
    "aiConfidenceScore": 0.87,
    "backend": "flux1-dev",
    "poseApplied": True,
    "identityApplied": False,
    "licence": "FLUX.1-dev Non-Commercial License",
    "width": 1024,
    "height": 1024,
    "isFavorite": False,
    "downloadCount": 0,
    "errorMessage": None,
    "createdAt": DRAWN,
}
PROJECT_TOLD: Final[dict[str, Any]] = {
    "id": PROJECT,
    "userId": ANN,
    "projectName": "Spring look book",
    "description": "Basics in daylight",
    "avatarImageUrl": AVATAR_TOLD["baseImageUrl"],
    "avatarSource": "AVATAR_CREATOR",
    "avatarId": AVATAR,
    "totalGenerations": 1,
    "totalPosesGenerated": 1,
    "status": "active",
    "createdAt": MORNING,
    "updatedAt": MORNING,
}
