"""The steps of a customer's walk, from signing up to the finished gallery, each with the promises it checks.

A step tells what it does and raises PromiseBroken at the first thing that is not as promised.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

from customer import Channel, Customer, Transcript, wait_for
from PIL import Image, ImageDraw

APP = "/api/apps/pose-generator"
PICTURE_CREDITS = 30
GRANTED = 1000
WORDS = "a woman in a red dress, sitting cross-legged on the floor, arms raised"
TEXT_PICTURES = 2
DRAWN_WITHIN_S = 900.0
CELL_PX = 256
BODY_25 = (
    *((320, 90), (320, 160), (270, 162), (200, 110), (170, 30), (370, 162), (430, 230), (365, 290), (320, 320)),
    *((290, 322), (220, 420), (190, 540), (350, 322), (400, 430), (420, 560), (308, 76), (332, 76), (292, 84)),
    *((348, 84), (445, 575), (450, 570), (415, 570), (165, 555), (160, 550), (195, 552)),
)
"""A person on 640x640 pixels, one arm up, one hand on the hip, feet apart: x, y of OpenPose's 25 body points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How large the walk shall be."""

    variations: int
    drawing: dict[str, Any]


class Walk:
    """The steps, in order. What one step learns, the next ones use."""

    def __init__(self, customer: Customer, wishes: Wishes, transcript: Transcript) -> None:
        self.customer = customer
        self.channel = Channel(customer)
        self.wishes = wishes
        self.script = transcript
        self.email = f"walk-{secrets.token_hex(4)}@posegen.example"
        self.avatar_id = self.project_id = ""
        self.spent = 0
        self.orders: dict[str, str] = {}
        self.cells: list[tuple[tuple[Image.Image, Image.Image], str]] = []

    def register(self) -> None:
        """Sign up, and see that there is nothing yet."""
        self.script.title("Sign up")
        body = {"email": self.email, "password": secrets.token_urlsafe(16), "name": "Walking Customer"}
        told = self.customer.call(
            "POST", "/api/auth/register", 201, json=body, show=["data.user.name", "data.user.creditBalance"]
        )
        self.customer.use(told["data"]["token"])
        told = self.customer.call("GET", "/api/auth/profile", 200, show=["user.email", "user.role"])
        self.script.promise("a new customer has no credits", told["user"]["creditBalance"] == 0)

    def make_avatar(self) -> None:
        """Upload a photo, and start a project around it."""
        self.script.title("Avatar and project")
        path = "/api/apps/avatar-creator/avatars"
        looks = {"name": "Ayu", "gender": "female", "ageRange": "30s", "ethnicity": "Javanese", "style": "casual"}
        files = {"image": ("ayu.jpg", _portrait(), "image/jpeg")}
        told = self.customer.call("POST", path, 201, data=looks, files=files, show=["avatar.name", "avatar.width"])
        self.avatar_id = told["avatar"]["id"]
        self.customer.picture(told["avatar"]["thumbnailUrl"])
        body = {
            "projectName": "Spring lookbook",
            "avatarSource": "AVATAR_CREATOR",
            "avatarId": self.avatar_id,
            "avatarImageUrl": told["avatar"]["baseImageUrl"],
        }
        told = self.customer.call("POST", f"{APP}/projects", 201, json=body, show=["project.projectName"])
        self.project_id = told["project"]["id"]
        self.customer.picture(told["project"]["avatarImageUrl"])

    def choose(self) -> list[dict[str, Any]]:
        """Choose two poses of the library, one of several people where there is one."""
        poses = self.customer.call("GET", f"{APP}/library?limit=100", 200, show=["pagination.total"])["poses"]
        groups = [pose for pose in poses if "couple" in pose["tags"] or "couple" in pose["name"].lower()]
        chosen = [poses[0], (groups or poses[1:])[0]]
        self.script.line(f"  chosen: {', '.join(pose['name'] for pose in chosen)}")
        return chosen

    def order_gallery(self, grant: Callable[[str, int], None]) -> None:
        """Order without credits, with credits, twice with one key; follow it over a cut connection."""
        self.script.title("Gallery mode: poses of the library")
        poses = self.choose()
        body = {
            "projectId": self.project_id,
            "generationType": "GALLERY_REFERENCE",
            "selectedPoseIds": [pose["id"] for pose in poses],
            "batchSize": self.wishes.variations,
            **self.wishes.drawing,
        }
        quote = self.quote(body)
        told = self.customer.call("POST", f"{APP}/generate", 402, json=body, show=["message", "required", "balance"])
        self.script.promise(
            "an order without credits is told its price", told["required"] == quote["creditCost"], told["required"]
        )
        grant(self.email, GRANTED)
        self.script.line(f"the operator grants {GRANTED} credits")
        self.channel.open(deaf_after="pose_completed")  # in the middle of the story, however fast it is told
        key = {"Idempotency-Key": secrets.token_hex(8)}
        generation_id = self.order("gallery", body, quote, headers=key)
        repeated = self.customer.call("POST", f"{APP}/generate", 202, json=body, headers=key, show=["generationId"])
        self.script.promise("a repeat with the same key is the same order", repeated["generationId"] == generation_id)
        wait_for(
            lambda: self.channel.of(generation_id, "pose_completed"),
            "the first picture is told",
            within_s=DRAWN_WITHIN_S,
        )
        seen = self.channel.cut()
        wait_for(lambda: self.delivered(generation_id) >= 2, "drawing goes on unseen", within_s=DRAWN_WITHIN_S)
        self.channel.open(after=seen)
        self.follow(generation_id)
        missed = self.channel.events[seen]["eventId"]
        self.script.promise("a client that comes back is told what it missed", missed == seen + 1, missed)
        self.finish("gallery", quote)
        maps = {pose["id"]: (pose["name"], self.map_of_library(pose["id"])) for pose in poses}
        for result in self.results("gallery"):
            name, pose_map = maps[result["poseLibraryId"]]
            self.show(result, pose_map, f"{name} ({result['variationKey'][-2:]})")

    def order_words(self) -> None:
        """Let words choose the pose, look at it before paying, then order it."""
        self.script.title(f'Text mode: "{WORDS}"')
        told = self.customer.call(
            "POST",
            f"{APP}/poses/suggest",
            200,
            json={"text": WORDS},
            show=["candidates.0.name", "candidates.0.whyChosen"],
        )
        suggested = told["candidates"][0]
        body = {
            "projectId": self.project_id,
            "generationType": "TEXT_DESCRIPTION",
            "textPrompt": WORDS,
            "variationCount": TEXT_PICTURES,
            **self.wishes.drawing,
        }
        quote = self.quote(body)
        generation_id = self.order("text", body, quote)
        self.follow(generation_id)
        generation = self.finish("text", quote)
        structure = generation["generatedPoseStructure"]
        self.script.promise(
            "the order shows the pose that was suggested",
            structure["poseName"] == suggested["name"],
            structure["poseName"],
        )
        mirrored = {one["variationKey"]: one["mirrored"] for one in structure["variations"]}
        for result in self.results("text"):
            self.show(
                result,
                self.map_of(suggested, mirror=mirrored[result["variationKey"]]),
                f"words ({result['variationKey'][-2:]})",
            )

    def order_own_pose(self) -> None:
        """Bring key-points of another tool: read them, order them."""
        self.script.title("Inline key-points: BODY_25 in pixels, as another tool wrote them")
        points = [number for x, y in BODY_25 for number in (x, y, 0.9)]
        file = {"people": [{"pose_keypoints_2d": points}], "canvas_width": 640, "canvas_height": 640}
        pose = self.customer.call("POST", f"{APP}/poses/import", 200, json=file, show=["assumptions.0"])
        again = self.customer.call("POST", f"{APP}/poses/import", 200, json=pose, show=["assumptions"])
        self.script.promise("what was imported is read back unchanged", again["people"] == pose["people"])
        body = {
            "projectId": self.project_id,
            "generationType": "GALLERY_REFERENCE",
            "poses": [{"name": "Waving", **pose}],
            "batchSize": 1,
            "textPrompt": "a woman in a blue dress",
            **self.wishes.drawing,
        }
        quote = self.quote(body)
        generation_id = self.order("inline", body, quote)
        self.follow(generation_id)
        self.finish("inline", quote)
        results = self.results("inline")
        self.script.promise(
            "the picture is named after its place in the order", results[0]["variationKey"] == "inline-0-v0"
        )
        self.show(results[0], self.map_of(pose), "own key-points")

    def add_up(self) -> None:
        """Mark a favourite, and see that numbers, credits and history agree."""
        self.script.title("What the customer has and has used")
        generation_id = self.orders["gallery"]
        picture = self.customer.call("GET", f"{APP}/generations/{generation_id}/results", 200, quiet=True)["results"][0]
        self.customer.call(
            "PUT", f"{APP}/poses/{picture['id']}/favorite", 200, json={"isFavorite": True}, show=["isFavorite"]
        )
        again = self.customer.call("GET", f"{APP}/generations/{generation_id}/results", 200)["results"][0]
        self.script.promise("a favourite stays one", again["isFavorite"])
        told = self.customer.call(
            "GET", f"{APP}/stats", 200, show=["totalPosesGenerated", "totalProjects", "creditUsage.totalSpent"]
        )
        pictures = 2 * self.wishes.variations + TEXT_PICTURES + 1
        self.script.promise(
            "the numbers count every picture", told["totalPosesGenerated"] == pictures, told["totalPosesGenerated"]
        )
        self.script.promise("the numbers count every credit", told["creditUsage"]["totalSpent"] == self.spent)
        history = self.customer.call("GET", "/api/credits/history", 200)
        for entry in reversed(history):
            self.script.line(f"  {entry['type']:<8} {entry['amount']:>6}  {entry['description']}")
        balance = self.customer.call("GET", f"{APP}/credits", 200, show=["balance", "unlimited.active"])["balance"]
        told = self.customer.call("GET", "/api/credits/balance", 200, show=["data.balance"])["data"]["balance"]
        self.script.promise("the balance is what was granted less what was spent", balance == GRANTED - self.spent)
        self.script.promise(
            "the history adds up to the balance", sum(one["amount"] for one in history) == balance == told
        )
        usage = {one["referenceId"] for one in history if one["type"] == "usage"}
        self.script.promise("every order was charged once, and no other", usage == set(self.orders.values()))
        numbers = [event["eventId"] for event in self.channel.events]
        self.script.promise(
            "over all connections no event was missed and none told twice",
            numbers == list(range(1, len(numbers) + 1)),
            numbers,
        )

    def quote(self, body: dict[str, Any]) -> dict[str, Any]:
        """Ask what an order would cost."""
        shown = ["totalPoses", "creditCost", "queueWaitS", "drawingS"]
        told: dict[str, Any] = self.customer.call("POST", f"{APP}/generate/quote", 200, json=body, show=shown)
        return told

    def order(self, name: str, body: dict[str, Any], quote: dict[str, Any], **more: Any) -> str:
        """Place an order; return the generation's id."""
        shown = ["status", "totalPosesExpected", "creditCharged", "estimatedCompletionTime", "message"]
        told = self.customer.call("POST", f"{APP}/generate", 202, json=body, show=shown, **more)
        self.script.promise("the price is the quoted one", told["creditCharged"] == quote["creditCost"])
        self.script.promise(
            "a picture costs 30 credits", told["creditCharged"] == PICTURE_CREDITS * told["totalPosesExpected"]
        )
        self.spent += told["creditCharged"]
        self.orders[name] = str(told["generationId"])
        return self.orders[name]

    def delivered(self, generation_id: str) -> int:
        """Ask how many pictures are delivered."""
        told = self.customer.call("GET", f"{APP}/generations/{generation_id}", 200, quiet=True)
        return int(told["progress"]["posesCompleted"])

    def follow(self, generation_id: str) -> None:
        """Wait for the last event, and see that the story is whole."""
        wait_for(
            lambda: [event for event in self.channel.of(generation_id) if event["type"] in ("completed", "failed")],
            "the end is told",
            within_s=DRAWN_WITHIN_S,
        )
        types = [event["type"] for event in self.channel.of(generation_id)]
        self.script.promise(
            "the story begins with started and ends with completed",
            (types[0], types[-1]) == ("started", "completed"),
            types,
        )
        total = self.channel.of(generation_id)[-1]["total"]
        keys = {event["variationKey"] for event in self.channel.of(generation_id, "pose_completed")}
        self.script.promise("every picture is told once", types.count("pose_completed") == len(keys) == total, types)

    def finish(self, name: str, quote: dict[str, Any]) -> dict[str, Any]:
        """Read the final state; tell the quoted times beside the real ones."""
        told = self.customer.call(
            "GET", f"{APP}/generations/{self.orders[name]}", 200, show=["generation.status", "progress.percentage"]
        )
        generation: dict[str, Any] = told["generation"]
        self.script.promise("the order is completed", generation["status"] == "completed", generation["status"])
        created, started, done = (
            datetime.fromisoformat(generation[moment]) for moment in ("createdAt", "startedAt", "completedAt")
        )
        self.script.line(
            f"  queue wait: quoted {_seconds(quote['queueWaitS'])}, was {(started - created).total_seconds():.1f} s; "
            f"drawing: quoted {_seconds(quote['drawingS'])}, was {(done - started).total_seconds():.1f} s"
        )
        return generation

    def results(self, name: str) -> list[dict[str, Any]]:
        """Return an order's pictures."""
        told = self.customer.call(
            "GET", f"{APP}/generations/{self.orders[name]}/results", 200, show=["generation.successCount"]
        )
        results: list[dict[str, Any]] = told["results"]
        self.script.promise("every picture shows its pose", all(result["poseApplied"] for result in results))
        for prompt in dict.fromkeys(result["promptUsed"] for result in results):
            self.script.line(f"  prompt: {prompt}")
        return results

    def show(self, result: dict[str, Any], pose_map: Image.Image, caption: str) -> None:
        """Download a picture, and put it on the sheet beside its pose."""
        picture = self.customer.picture(result["outputImageUrl"])
        self.customer.picture(result["thumbnailUrl"])
        size = (result["width"], result["height"])
        self.script.promise("a picture has the size that was ordered", picture.size == size, picture.size)
        self.cells.append(((pose_map.convert("RGB"), picture.convert("RGB")), caption))

    def map_of_library(self, pose_id: str) -> Image.Image:
        """Return the control map of a library pose."""
        told = self.customer.call("GET", f"{APP}/library/{pose_id}", 200, show=["pose.name"])
        return self.customer.picture(told["pose"]["controlnetImageUrl"])

    def map_of(self, pose: dict[str, Any], *, mirror: bool = False) -> Image.Image:
        """Let the service draw key-points."""
        asked = {name: pose[name] for name in ("people", "canvas_width", "canvas_height")}
        size = {"width": CELL_PX, "height": CELL_PX}
        content = self.customer.call("POST", f"{APP}/poses/render", 200, json={**asked, **size, "mirror": mirror})
        return Image.open(BytesIO(content))


def _seconds(quoted_s: float | None) -> str:
    return "unknown (nothing was measured yet)" if quoted_s is None else f"{quoted_s:.1f} s"


def _portrait() -> bytes:
    """Return a photo of somebody, drawn by code."""
    picture = Image.new("RGB", (640, 640), (196, 214, 220))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((180, 90, 460, 470), fill=(58, 40, 34))
    draw.ellipse((220, 140, 420, 400), fill=(206, 160, 128))
    draw.rounded_rectangle((130, 430, 510, 700), radius=90, fill=(150, 60, 70))
    for x in (275, 345):
        draw.ellipse((x, 250, x + 20, 268), fill=(30, 24, 22))
    draw.arc((280, 290, 360, 350), 20, 160, fill=(120, 50, 50), width=5)
    saved = BytesIO()
    picture.save(saved, format="JPEG", quality=92)
    return saved.getvalue()
