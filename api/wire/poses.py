"""Key-points on the wire: OpenPose JSON as other tools write it, with what shall be done to it.

Inside `people` nothing is renamed, and `canvas_width` and `canvas_height` keep OpenPose's spelling in answers too, so
that an answer is itself a file that other tools read; both spellings are taken.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import UploadFile
from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from api.wire.base import Asked, Real, Switch, Text, Told, Whole
from posegen.detections import Detection
from posegen.errors import BadInput, FieldProblem
from posegen.poses import (
    MAX_PEOPLE,
    ImportedPose,
    Pose,
    PoseRefused,
    Rendering,
    composed_pose,
    fitted_pose,
    frame_pose,
    mirrored_pose,
    pose_from_openpose,
    pose_png,
    pose_to_openpose,
)
from posegen.statuses import DetectionStatus
from posegen.storage import Links
from posegen.suggesting import MOST_SUGGESTED, Suggestion

LEAST_TEXT = 3
PREVIEW_PX = 256


class KeyPointsAsked(Asked):
    """One OpenPose document. What is in it is read by the domain, which names what it refuses."""

    people: Any = Field(
        default=None,
        description="People as in OpenPose JSON: `pose_keypoints_2d` with x, y, c of 18, 25 or 17 points, and "
        "where known `hand_left_keypoints_2d`, `hand_right_keypoints_2d` and `face_keypoints_2d`; pixels or 0..1",
    )
    canvas_width: Any = Field(default=None, validation_alias=AliasChoices("canvas_width", "canvasWidth"))
    canvas_height: Any = Field(default=None, validation_alias=AliasChoices("canvas_height", "canvasHeight"))

    def imported(self) -> ImportedPose:
        """Read the key-points, in any dialect. Raises PoseRefused."""
        return pose_from_openpose(
            {"people": self.people, "canvas_width": self.canvas_width, "canvas_height": self.canvas_height}
        )


class PoseAsked(KeyPointsAsked):
    """A pose, or several to be put side by side, and what shall be done to it: in this order."""

    poses: Annotated[list[KeyPointsAsked], Field(max_length=MAX_PEOPLE)] | None = None
    mirror: Switch | None = None
    fit: Switch | None = Field(default=None, description="As large as the canvas holds, in its middle")
    aspect: Annotated[Real, Field(gt=0)] | None = Field(default=None, description="Width / height of the new canvas")

    @model_validator(mode="before")
    @classmethod
    def _one_of_a_list(cls, body: Any) -> Any:
        """Take the only picture of a list, as some tools write their files."""
        return body[0] if isinstance(body, list) and len(body) == 1 and isinstance(body[0], Mapping) else body

    def changed(self) -> ImportedPose:
        """Read the key-points and do what is asked. Raises PoseRefused, or BadInput for several."""
        read = imported_all(self.poses, "poses") if self.poses else [self.imported()]
        pose = composed_pose([one.pose for one in read]) if self.poses else read[0].pose
        if self.mirror:
            pose = mirrored_pose(pose)
        if self.aspect is not None:
            pose = frame_pose(pose, self.aspect)
        if self.fit:
            pose = fitted_pose(pose)
        said = dict.fromkeys(sentence for one in read for sentence in one.assumptions)
        return ImportedPose(pose=pose, assumptions=tuple(said))


class RenderAsked(PoseAsked):
    """A pose to be drawn, and how."""

    rendering: Rendering = Rendering.MAP
    width: Whole = 512
    height: Whole = 512


class SuggestAsked(Asked):
    """Words that shall choose a pose."""

    text: Annotated[Text, Field(max_length=500)]
    limit: Annotated[Whole, Field(ge=1, le=MOST_SUGGESTED)] = 6

    @field_validator("text")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if len(value.strip()) < LEAST_TEXT:
            raise PydanticCustomError(
                "text_short", "Describe the pose in {least} to 500 characters", {"least": LEAST_TEXT}
            )
        return value.strip()


class KeyPointsTold(Told):
    """A pose as one OpenPose document: people in 0..1 of a canvas, whose size carries the aspect ratio."""

    people: list[dict[str, Any]]
    canvas_width: int = Field(alias="canvas_width")
    canvas_height: int = Field(alias="canvas_height")


class PoseImported(KeyPointsTold):
    """What was read, and in sentences what had to be assumed to read it."""

    assumptions: list[str]

    @classmethod
    def of(cls, imported: ImportedPose) -> "PoseImported":
        """Describe an imported pose."""
        return cls(**pose_to_openpose(imported.pose), assumptions=list(imported.assumptions))


class DetectPhoto(Asked):
    """A photo whose people's pose shall be found."""

    image: UploadFile


class DetectionPlaced(Told):
    """A photo that was taken, and what its detection is called."""

    detection_id: str


class DetectionTold(Told):
    """A detection: `queued`, `processing`, `completed` with key-points as /poses/import answers them, or `failed`.

    The key-points and their canvas are null until completed; `error_message` says why a failed one has none.
    """

    status: DetectionStatus
    people: list[dict[str, Any]] | None
    canvas_width: int | None = Field(alias="canvas_width")
    canvas_height: int | None = Field(alias="canvas_height")
    error_message: str | None

    @classmethod
    def of(cls, detection: Detection) -> "DetectionTold":
        """Describe a detection."""
        pose: Mapping[str, Any] = detection.pose or {}
        return cls(
            status=detection.status,
            people=pose.get("people"),
            canvas_width=pose.get("canvas_width"),
            canvas_height=pose.get("canvas_height"),
            error_message=detection.error_message,
        )


class SuggestionTold(KeyPointsTold):
    """A pose for the words, as key-points that can be edited and ordered; `pose_id` where it is a library's.

    `preview_url` opens in an `<img>` tag: a stored picture, or the picture itself where the pose was changed.
    """

    name: str
    pose_id: str | None
    score: float
    why_chosen: str
    shown: list[str]
    changed: list[str]
    not_shown: list[str]
    mirrored: bool
    neutral: bool
    unchanged: bool
    preview_url: str

    @classmethod
    def of(cls, suggestion: Suggestion, links: Links) -> "SuggestionTold":
        """Describe a suggestion."""
        one, key = suggestion.candidate, suggestion.preview_key
        return cls(
            **pose_to_openpose(one.pose),
            name=one.entry.name,
            pose_id=one.entry.key,
            score=one.score,
            why_chosen=one.why,
            shown=list(one.shown),
            changed=list(one.bent),
            not_shown=list(one.missing),
            mirrored=one.mirrored,
            neutral=one.found_nothing,
            unchanged=one.is_unchanged,
            preview_url=links.url(key) if key is not None else _drawn_here(one.pose),
        )


class SuggestionsTold(Told):
    """Poses for the words, best first; at least one."""

    candidates: list[SuggestionTold]

    @classmethod
    def of(cls, suggestions: Sequence[Suggestion], links: Links) -> "SuggestionsTold":
        """Describe them."""
        return cls(candidates=[SuggestionTold.of(suggestion, links) for suggestion in suggestions])


def _drawn_here(pose: Pose) -> str:
    content = pose_png(pose, Rendering.PREVIEW, PREVIEW_PX, PREVIEW_PX)
    return f"data:image/png;base64,{b64encode(content).decode()}"


def imported_all(documents: Sequence[KeyPointsAsked], field: str) -> list[ImportedPose]:
    """Read every document. Raises BadInput, naming what is wrong in each of them, such as `poses[2].people[0]`."""
    read, problems = [], []
    for index, document in enumerate(documents):
        try:
            read.append(document.imported())
        except PoseRefused as e:
            named = PoseRefused(f"{field}[{index}].{e.field}", e.reason)
            problems.append(FieldProblem(field=named.field, message=str(named)))
    if problems:
        raise BadInput(" ".join(problem.message for problem in problems), problems)
    return read
