"""Avatars and their folders."""

from typing import Any

from api.documentation.operation import Operation, Operations
from api.documentation.story import AVATAR_TOLD, FOLDER, LOOKS, MORNING, NOBODY
from api.errors import TooManyRequests
from posegen.errors import NotFound, StorageAway, TooBusy, TooLarge, UnsupportedMedia

_ROOT = "/api/apps/avatar-creator"
_PHOTO = "(the bytes of a JPEG, PNG or WebP of at most 10 MB, 512 to 4096 px a side)"
_NO_AVATAR = NotFound("avatar", [NOBODY])
_NO_FOLDER = NotFound("project", [NOBODY])
_UPLOAD = (
    TooLarge("A photo has at most 10 MB.", "image"),
    UnsupportedMedia("Send a JPEG, PNG or WebP photo.", "image"),
    TooManyRequests(21, {"RateLimit-Policy": '"uploads";q=10;w=60', "RateLimit": '"uploads";r=0;t=21'}),
    StorageAway("avatars/01a20bbd-23c6-73a1.jpg"),
    TooBusy(),
)
_ONE: dict[str, Any] = {"avatar": AVATAR_TOLD}
_FORM: dict[str, Any] = {"image": _PHOTO, "name": "Ann in the studio", **LOOKS}
_IN_FOLDER: dict[str, Any] = {**AVATAR_TOLD, "projectId": FOLDER}
_FOLDER: dict[str, Any] = {
    "id": FOLDER,
    "name": "Spring faces",
    "projectName": "Spring faces",
    "description": "Everybody of the spring campaign",
    "avatars": [_IN_FOLDER],
    "createdAt": MORNING,
    "updatedAt": MORNING,
}
_ONE_FOLDER: dict[str, Any] = {"project": _FOLDER}

OPERATIONS: Operations = {
    f"GET {_ROOT}/avatars": Operation(id="listAvatars", answer={"avatars": [AVATAR_TOLD]}),
    f"POST {_ROOT}/avatars": Operation(
        id="createAvatar", requests={"photo": _FORM}, answer=_ONE, refuses=(*_UPLOAD, _NO_FOLDER)
    ),
    f"GET {_ROOT}/avatars/{{avatar_id}}": Operation(id="readAvatar", answer=_ONE, refuses=(_NO_AVATAR,)),
    f"PUT {_ROOT}/avatars/{{avatar_id}}": Operation(
        id="changeAvatar",
        requests={"looks": {"hairColor": "black", "hairStyle": "shoulder-length"}},
        answer=_ONE,
        refuses=(_NO_AVATAR,),
    ),
    f"DELETE {_ROOT}/avatars/{{avatar_id}}": Operation(
        id="deleteAvatar", answer={"success": True, "message": "The avatar was deleted."}, refuses=(_NO_AVATAR,)
    ),
    f"PUT {_ROOT}/avatars/{{avatar_id}}/image": Operation(
        id="changeAvatarPhoto", requests={"photo": {"image": _PHOTO}}, answer=_ONE, refuses=(_NO_AVATAR, *_UPLOAD)
    ),
    f"GET {_ROOT}/projects": Operation(id="listAvatarProjects", answer={"projects": [_FOLDER]}),
    f"POST {_ROOT}/projects": Operation(
        id="createAvatarProject",
        requests={"folder": {"name": "Spring faces", "description": "Everybody of the spring campaign"}},
        answer={"project": {**_FOLDER, "avatars": []}},
    ),
    f"GET {_ROOT}/projects/{{project_id}}": Operation(
        id="readAvatarProject", answer=_ONE_FOLDER, refuses=(_NO_FOLDER,)
    ),
    f"PUT {_ROOT}/projects/{{project_id}}": Operation(
        id="changeAvatarProject",
        requests={"name": {"name": "Spring faces"}},
        answer=_ONE_FOLDER,
        refuses=(_NO_FOLDER,),
    ),
    f"DELETE {_ROOT}/projects/{{project_id}}": Operation(
        id="deleteAvatarProject",
        answer={"success": True, "message": "The project was deleted; its avatars stay."},
        refuses=(_NO_FOLDER,),
    ),
    f"POST {_ROOT}/projects/{{project_id}}/avatars/upload": Operation(
        id="uploadAvatar", requests={"photo": _FORM}, answer={"avatar": _IN_FOLDER}, refuses=(*_UPLOAD, _NO_FOLDER)
    ),
}
