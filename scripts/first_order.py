"""Place one order as any client would, over REST and Socket.IO, and lay the pictures out to be looked at.

Uses nothing of the service's inside: it could run on another machine (`--url`). E-mail and password come from
POSEGEN_EMAIL and POSEGEN_PASSWORD. The exit code is 0 when every picture was delivered.
"""

import argparse
import os
import queue
import re
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import socketio
from live_client import LiveClient
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from posegen.poses.contact_sheet import contact_sheet

APP = "/api/apps/pose-generator"
NAMESPACE = "/pose-generator"
EVENT = "pose-generation-update"
PROJECT_NAME = "First pictures"
PICTURES = 4
WORDS = "wearing a red t-shirt and blue jeans, plain beige background"
"""What every picture shows beside its pose; words that the built-in model knows too."""
CELL_PX = 384
FINAL = ("completed", "failed", "cancelled")
_EVENT_WAIT_S = 0.5
_POLL_EVERY_S = 1.0
_POLL_BESIDE_EVENTS_S = 5.0
"""While events arrive, REST is asked this seldom: only in case that one was lost."""

console = Console(highlight=False)


class OrderFailed(Exception):
    """The API refused something; the text is its own sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One delivered picture beside the control map it was made from."""

    name: str
    picture: Image.Image
    control_map: Image.Image
    file: Path


class Client:
    """The REST side, logged in."""

    def __init__(self, url: str) -> None:
        self._http = httpx2.Client(base_url=url, timeout=30.0)
        self.token = ""

    def log_in(self, email: str, password: str, token_file: Path | None) -> None:
        """Use the login of last time while it is good (logins are limited in number), else log in."""
        if token_file and token_file.exists():
            self.token = token_file.read_text()
            self._http.headers["Authorization"] = f"Bearer {self.token}"
            if self._http.get("/api/credits/balance").status_code == httpx2.codes.OK:
                return
            del self._http.headers["Authorization"]
        self.token = self.post("/api/auth/login", {"email": email, "password": password})["data"]["token"]
        self._http.headers["Authorization"] = f"Bearer {self.token}"
        if token_file:
            token_file.touch(mode=0o600)
            token_file.write_text(self.token)

    def get(self, path: str, query: Mapping[str, str | int | bool] | None = None) -> Any:
        """Return the JSON answer. Raises OrderFailed."""
        return _answer_of(self._http.get(path, params=query))

    def post(self, path: str, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Any:
        """Return the JSON answer. Raises OrderFailed."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return _answer_of(self._http.post(path, json=body, headers=headers))

    def picture(self, url: str) -> tuple[bytes, Image.Image]:
        """Download a picture by its signed link; a link of the API itself is asked of the API that we talk to."""
        parts = urlsplit(url)  # PUBLIC_BASE_URL may name a front door that this machine cannot use
        answer = self._http.get(f"{parts.path}?{parts.query}" if parts.path.startswith("/api/") else url)
        if answer.is_error:
            raise OrderFailed(f"A picture could not be downloaded: {answer.status_code} for {url.split('?')[0]}")
        with Image.open(BytesIO(answer.content)) as opened:
            return answer.content, opened.convert("RGB")


class Channel:
    """The Socket.IO side: events arrive in `events`; `live` is false while the connection is down."""

    def __init__(self, url: str, token: str) -> None:
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._socket = LiveClient(reconnection_delay_max=2)
        self._socket.on(EVENT, self.events.put, namespace=NAMESPACE)
        try:
            self._socket.connect(url, auth={"token": token}, namespaces=[NAMESPACE], wait_timeout=5)
        except socketio.exceptions.ConnectionError as error:
            console.print(f"  Live updates are not available ({error}); asking instead.", soft_wrap=True)

    @property
    def live(self) -> bool:
        """Whether events can arrive now."""
        return NAMESPACE in self._socket.namespaces

    def next(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next event, or None when none comes in time."""
        try:
            return self.events.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """End the connection."""
        self._socket.disconnect()


def main(arguments: Sequence[str] | None = None) -> int:
    """Order, wait, download, lay out; return the exit code."""
    wishes = _parse(arguments)
    client = Client(wishes.url)
    try:
        client.log_in(os.environ["POSEGEN_EMAIL"], os.environ["POSEGEN_PASSWORD"], wishes.token_file)
        poses = _choose_poses(client)
        channel = Channel(wishes.url, client.token)
        try:
            generation_id = _order(client, poses)
            _follow(client, channel, generation_id)
        finally:
            channel.close()
        return _deliver(client, generation_id, poses, wishes.folder)
    except KeyboardInterrupt:
        return 130
    except (OrderFailed, httpx2.HTTPError) as error:
        console.print(f"\n  The first order failed: {error}")
        return 1


def _choose_poses(client: Client) -> dict[str, dict[str, Any]]:
    featured = client.get(f"{APP}/library", {"featured": True, "limit": PICTURES})["poses"]
    others = client.get(f"{APP}/library", {"limit": 2 * PICTURES})["poses"] if len(featured) < PICTURES else []
    chosen = list({pose["id"]: pose for pose in [*featured, *others]}.values())[:PICTURES]
    if not chosen:
        raise OrderFailed("the pose library is empty; fill it with: posegen library seed")
    return {pose["id"]: pose for pose in chosen}


def _order(client: Client, poses: Mapping[str, Any]) -> str:
    projects = client.get(f"{APP}/projects", {"status": "active", "limit": 100})["projects"]
    named = [project for project in projects if project["projectName"] == PROJECT_NAME]
    wanted = {"projectName": PROJECT_NAME, "avatarSource": "UPLOAD"}
    project = named[0] if named else client.post(f"{APP}/projects", wanted)["project"]
    body = {
        "projectId": project["id"],
        "generationType": "GALLERY_REFERENCE",
        "selectedPoseIds": list(poses),
        "batchSize": 1,
        "textPrompt": WORDS,
    }
    accepted = client.post(f"{APP}/generate", body, idempotency_key=str(uuid.uuid4()))
    names = ", ".join(pose["name"] for pose in poses.values())
    console.print(f"  Ordered    {names} ({accepted['creditCharged']} credits)", soft_wrap=True)
    return str(accepted["generationId"])


def _follow(client: Client, channel: Channel, generation_id: str) -> None:
    """Show progress until the order is final: from events while they come, from REST when they do not."""
    columns = (
        TextColumn("  Drawing   "),
        SpinnerColumn(),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=PICTURES)
        final: set[str] = set()
        asked_at = time.monotonic()
        while True:
            event = channel.next(_EVENT_WAIT_S)
            if event and event.get("generationId") == generation_id:
                asked_at = time.monotonic()
                if event["type"] == "progress":
                    _show(progress, task, event["completed"] + event["failed"], event)
                elif event["type"] == "pose_completed":
                    final.add(event["poseId"])
                    progress.update(task, completed=len(final))
                elif event["type"] in FINAL:
                    _show(progress, task, event.get("completed", 0) + event.get("failed", 0), event)
                    return
            elif time.monotonic() - asked_at > (_POLL_BESIDE_EVENTS_S if channel.live else _POLL_EVERY_S):
                asked_at = time.monotonic()
                state = client.get(f"{APP}/generations/{generation_id}")
                said = state["progress"]
                done = said["posesCompleted"] + said["posesFailed"]
                _show(progress, task, done, {**said, "total": said["posesTotal"]})
                if state["generation"]["status"] in FINAL:
                    return


def _show(progress: Progress, task: Any, done: int, said: Mapping[str, Any]) -> None:
    remaining = said.get("estimatedTimeRemaining")
    told = "" if not remaining else f"about {remaining:.0f} s left"
    progress.update(task, completed=done or None, total=said.get("total"), description=told)


def _deliver(client: Client, generation_id: str, poses: Mapping[str, Any], folder: Path) -> int:
    answer = client.get(f"{APP}/generations/{generation_id}/results")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    drawn: list[Drawn] = []
    order = list(poses)
    delivered = [result for result in answer["results"] if result["status"] == "completed"]
    for result in sorted(delivered, key=lambda result: order.index(result["poseLibraryId"])):
        pose = poses[result["poseLibraryId"]]
        file = folder / f"{len(drawn) + 1}-{re.sub(r'[^a-z0-9]+', '-', pose['name'].lower()).strip('-')}.png"
        content, picture = client.picture(result["outputImageUrl"])
        file.write_bytes(content)
        _, control_map = client.picture(pose["controlnetImageUrl"])
        drawn.append(Drawn(name=pose["name"], picture=picture, control_map=control_map, file=file))
    for result in answer["results"]:
        if result["status"] == "failed":
            console.print(f"  Failed     {result['variationKey']}: {result['errorMessage']}")
    if drawn:
        sheet = folder / "contact-sheet.png"
        cells = [((one.control_map, one.picture), one.name) for one in drawn]
        contact_sheet(cells, columns=2, cell_px=CELL_PX).save(sheet)
        for file in [*(one.file for one in drawn), sheet]:
            console.print(f"  Picture    {file}", soft_wrap=True)
    return 0 if len(drawn) == len(poses) else 1


def _answer_of(answer: httpx2.Response) -> Any:
    if answer.is_error:
        try:
            sentence = answer.json()["message"]
        except (ValueError, KeyError, TypeError):
            sentence = answer.text[:200]
        raise OrderFailed(f"{answer.request.method} {answer.request.url.path}: {answer.status_code}, {sentence}")
    return answer.json()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:4000", help="where the API is")
    parser.add_argument("--folder", type=Path, default=Path("var/first-order"), help="where the pictures go")
    parser.add_argument("--token-file", type=Path, help="keeps the login between two orders")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
