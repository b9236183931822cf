"""Projects."""

from api.documentation.operation import Operation, Operations
from api.documentation.story import AVATAR, GENERATION_TOLD, NOBODY, PROJECT_TOLD, page
from api.routes import POSE_GENERATOR
from posegen.errors import Conflict, NotFound

_ROOT = f"{POSE_GENERATOR}/projects"
_NO_PROJECT = NotFound("project", [NOBODY])

OPERATIONS: Operations = {
    f"GET {_ROOT}": Operation(id="listProjects", answer={"projects": [PROJECT_TOLD], "pagination": page(1, 10)}),
    f"POST {_ROOT}": Operation(
        id="createProject",
        requests={
            "avatar": {
                "projectName": "Spring look book",
                "description": "Basics in daylight",
                "avatarSource": "AVATAR_CREATOR",
                "avatarId": AVATAR,
            },
            "picture": {
                "projectName": "Spring look book",
                "avatarSource": "UPLOAD",
                "avatarImageUrl": "https://studio.example/people/ann.jpg",
            },
        },
        answer={"project": {**PROJECT_TOLD, "totalGenerations": 0, "totalPosesGenerated": 0}},
        refuses=(NotFound("avatar", [NOBODY]),),
    ),
    f"GET {_ROOT}/{{project_id}}": Operation(
        id="readProject",
        answer={"project": {**PROJECT_TOLD, "generations": [GENERATION_TOLD]}},
        refuses=(_NO_PROJECT,),
    ),
    f"PUT {_ROOT}/{{project_id}}": Operation(
        id="changeProject",
        requests={"archive": {"status": "archived"}, "name": {"projectName": "Summer look book"}},
        answer={"project": PROJECT_TOLD},
        refuses=(_NO_PROJECT,),
    ),
    f"DELETE {_ROOT}/{{project_id}}": Operation(
        id="deleteProject",
        answer={"success": True, "message": "The project was deleted."},
        refuses=(
            _NO_PROJECT,
            Conflict("Pictures of this project are still being drawn; cancel the generation or wait for its end."),
        ),
    ),
}
