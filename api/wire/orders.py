"""An order on the wire: the body of `POST /generate`, and the answer that it was taken.

The ranges are the contract's. What only the profile knows (sizes, steps, strengths) is checked by the domain, which
names the same fields. Fields of features that are not built are read too, so that asking for one is told, not ignored.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from api.wire.base import Asked, Identifier, Real, Switch, Text, Told, Whole, one_of
from api.wire.loras import MOST_ASKED_LORAS, LoraAsked, loras_of
from api.wire.poses import KeyPointsAsked, imported_all
from posegen.errors import NotAvailableYet
from posegen.ordered_pictures import OwnPose
from posegen.orders import GALLERY, TEXT, Order, PlacedOrder
from posegen.quotes import Quote

DEFAULT_VARIATIONS = 4
MOST_VARIATIONS = 6
"""Pictures of one pose."""
MOST_WORDED = 10
"""Pictures of one text."""
MOST_POSES = 50


class OwnPoseAsked(KeyPointsAsked):
    """Key-points of the customer's own. The name, if there is one, goes into the prompt."""

    name: Annotated[Text, Field(max_length=100)] | None = None


class GenerateBody(Asked):
    """What a customer orders."""

    generation_type: Literal["GALLERY_REFERENCE", "TEXT_DESCRIPTION"]
    avatar_id: Identifier | None = Field(default=None, description="Whom the pictures show; default: the project's")
    project_id: Identifier | None = Field(
        default=None, validate_default=True, description="Needed, unless an avatar is named"
    )
    poses: Annotated[list[OwnPoseAsked], Field(max_length=MOST_POSES)] | None = Field(
        default=None, description="Key-points of your own, beside the library's poses or instead of them"
    )
    selected_pose_ids: Annotated[list[Identifier], Field(max_length=MOST_POSES)] | None = Field(
        default=None, validate_default=True, description="Poses of the library; with `poses` 1 to 50"
    )
    batch_size: Annotated[Whole, Field(ge=1, le=MOST_WORDED)] | None = Field(
        default=None,
        description=f"Pictures of each pose, at most {MOST_VARIATIONS}; default {DEFAULT_VARIATIONS}. "
        "In text mode it is another name for `variationCount`",
    )
    text_prompt: Annotated[Text, Field(max_length=500)] | None = Field(
        default=None,
        validate_default=True,
        description="10 to 500 characters. Chooses the pose in text mode, is added to the prompt in gallery mode",
    )
    variation_count: Annotated[Whole, Field(ge=1, le=MOST_WORDED)] | None = Field(
        default=None, description=f"Pictures in text mode; default {DEFAULT_VARIATIONS}"
    )
    use_background_changer: Switch | None = None
    export_formats: list[Text] | None = None
    output_formats: list[Text] | None = Field(default=None, description="The old name of `exportFormats`")
    width: Whole | None = Field(default=None, description="In pixels; which sizes there are is the model profile's")
    height: Whole | None = None
    seed: Whole | None = Field(default=None, description="The same seed and order draw the same pictures")
    steps: Whole | None = None
    guidance: Real | None = None
    control_strength: Real | None = Field(default=None, description="How strictly the pose is followed")
    loras: Annotated[list[LoraAsked], Field(max_length=MOST_ASKED_LORAS)] | None = Field(
        default=None, description="Changes of the model by name, beside the avatar's own; strength 0 leaves one out"
    )
    allow_poseless: Switch | None = Field(
        default=None, description="Whether a picture may be drawn by a worker that cannot follow the pose"
    )

    @model_validator(mode="before")
    @classmethod
    def _poses_of_an_avatar(cls, given: Any) -> Any:
        """Old clients send an avatar and poses and nothing else: a gallery order."""
        if isinstance(given, dict) and given.get("avatarId") and given.get("selectedPoseIds"):
            return {**given, "generationType": given.get("generationType") or GALLERY}
        return given

    @field_validator("project_id")
    @classmethod
    def _needed_without_an_avatar(cls, value: str | None, given: ValidationInfo) -> str | None:
        if not value and not given.data.get("avatar_id"):
            raise PydanticCustomError("place_missing", "Name a project, or an avatar")
        return value

    @field_validator("poses")
    @classmethod
    def _only_in_gallery_mode(
        cls, value: list[OwnPoseAsked] | None, given: ValidationInfo
    ) -> list[OwnPoseAsked] | None:
        if value and given.data.get("generation_type") == TEXT:
            raise PydanticCustomError(
                "poses_and_text", "Words choose the pose here; order key-points as {gallery}", {"gallery": GALLERY}
            )
        return value

    @field_validator("selected_pose_ids")
    @classmethod
    def _needed_in_gallery_mode(cls, value: list[str] | None, given: ValidationInfo) -> list[str] | None:
        if given.data.get("generation_type") == GALLERY and "poses" in given.data:
            together = len(value or ()) + len(given.data["poses"] or ())
            if not 1 <= together <= MOST_POSES:
                raise PydanticCustomError("poses_missing", "Choose 1 to {most} poses", {"most": MOST_POSES})
        return value

    @field_validator("batch_size")
    @classmethod
    def _few_of_each_pose(cls, value: int | None, given: ValidationInfo) -> int | None:
        if value is not None and value > MOST_VARIATIONS and given.data.get("generation_type") == GALLERY:
            raise PydanticCustomError("variations_many", "The most is {most}", {"most": MOST_VARIATIONS})
        return value

    @field_validator("text_prompt")
    @classmethod
    def _long_enough(cls, value: str | None, given: ValidationInfo) -> str | None:
        words = value.strip() if value else ""
        if words and len(words) < 10:
            raise PydanticCustomError("prompt_short", "Describe it in 10 to 500 characters")
        if not words and given.data.get("generation_type") == TEXT:
            raise PydanticCustomError("prompt_missing", "Describe the pictures in 10 to 500 characters")
        return words or None

    def check_available(self) -> None:
        """Raise NotAvailableYet for what is on the wire but not built; nothing may be charged for it."""
        for asked, feature, field in (
            (self.use_background_changer, "The background changer", "useBackgroundChanger"),
            (self.export_formats, "Exporting", "exportFormats"),
            (self.output_formats, "Exporting", "outputFormats"),
        ):
            if asked:
                raise NotAvailableYet(feature, field)

    def order(self) -> Order:
        """Return the order this body asks for. Raises NotAvailableYet, and BadInput for key-points that are no pose."""
        self.check_available()
        own = self.poses or []
        by_words = self.generation_type == TEXT
        count = self.variation_count if by_words else None
        return Order(
            generation_type=self.generation_type,
            project_id=self.project_id or None,
            avatar_id=self.avatar_id or None,
            pose_ids=() if by_words else tuple(self.selected_pose_ids or ()),
            own_poses=tuple(
                OwnPose(pose=read.pose, name=(asked.name or "").strip() or None)
                for asked, read in zip(own, imported_all(own, "poses"), strict=True)
            ),
            variations=count or self.batch_size or DEFAULT_VARIATIONS,
            words=self.text_prompt,
            width_px=self.width,
            height_px=self.height,
            seed=self.seed,
            steps=self.steps,
            guidance=self.guidance,
            control_scale=self.control_strength,
            loras=loras_of(self.loras),
            allow_poseless=bool(self.allow_poseless),
        )


class OrderTold(Told):
    """The answer to an accepted order. `status` is what old clients wait for before they open their live channel."""

    success: bool = True
    generation_id: str
    status: Annotated[str, one_of(("processing",))] = "processing"
    total_poses_expected: int
    credit_charged: int
    estimated_completion_time: int | None
    message: str

    @classmethod
    def of(cls, placed: PlacedOrder) -> "OrderTold":
        """Describe an accepted order."""
        pictures = "1 picture" if placed.total_pictures == 1 else f"{placed.total_pictures} pictures"
        return cls(
            generation_id=placed.generation_id,
            total_poses_expected=placed.total_pictures,
            credit_charged=placed.credits_charged,
            estimated_completion_time=placed.estimated_s,
            message=f"{pictures} ordered {_price(placed)}.",
        )


class QuoteTold(Told):
    """What an order would cost and how long it would take; null while no worker's speed was measured."""

    total_poses: int
    credit_cost: int
    quota_use: int
    queue_wait_s: float | None
    drawing_s: float | None

    @classmethod
    def of(cls, quote: Quote) -> "QuoteTold":
        """Describe a quote."""
        return cls(
            total_poses=quote.total_pictures,
            credit_cost=quote.cost_credits,
            quota_use=quote.quota_pictures,
            queue_wait_s=quote.queue_wait_s,
            drawing_s=quote.drawing_s,
        )


def _price(placed: PlacedOrder) -> str:
    return "from today's quota" if placed.quota_charged else f"for {placed.credits_charged} credits"
