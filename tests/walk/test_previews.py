"""Previews walked through real processes: seen while drawing by who ordered, by nobody else, and never kept."""

import io
import time
from typing import TYPE_CHECKING, Any

import pytest
from live_client import LiveClient
from PIL import Image
from support.waiting import wait_until

if TYPE_CHECKING:
    from .conftest import Customer, Service

APP = "/api/apps/pose-generator"
NAMESPACE = "/pose-generator"
pytestmark = pytest.mark.timeout(300)


class Watcher:
    """A socket that writes down previews with the time they came at, and events beside them."""

    def __init__(self, customer: "Customer", **auth: Any) -> None:
        self.previews: list[tuple[float, dict[str, Any]]] = []
        self.order: list[str] = []
        self._socket = LiveClient()
        self._socket.on("pose-generation-preview", self._preview, namespace=NAMESPACE)
        self._socket.on("pose-generation-update", lambda told: self.order.append(told["type"]), namespace=NAMESPACE)
        self._socket.on("connected", lambda _told: self.order.append("connected"), namespace=NAMESPACE)
        login = {"token": customer.token, **auth}
        self._socket.connect(customer.url, auth=login, namespaces=[NAMESPACE], transports=["websocket"])

    def _preview(self, told: dict[str, Any]) -> None:
        self.previews.append((time.monotonic(), told))
        self.order.append("preview")

    def close(self) -> None:
        self._socket.disconnect()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_customer_sees_their_pictures_while_they_are_drawn(service: "Service") -> None:
    service.start_api()
    worker = service.start_worker("one", "--device", "cpu", "--profile", "tiny")
    worker.wait_for_log("worker.ready", timeout_s=120)
    ann, eve = service.customer("ann", credits=1000), service.customer("eve", credits=1000)
    seeing, declining, other = Watcher(ann), Watcher(ann, previews=False), Watcher(eve)

    wait_until(lambda: "connected" in seeing.order, message="the greeting")
    ordered = ann.order(2, 1, textPrompt="a woman in a red room", steps=40)
    wait_until(lambda: ann.status(ordered) == "completed", timeout_s=180, message=lambda: worker.log)
    results = ann.get(f"{APP}/generations/{ordered}/results")["results"]
    wait_until(lambda: "completed" in seeing.order, message="the last event")
    for watcher in (seeing, declining, other):
        watcher.close()

    told = [preview for _, preview in seeing.previews]
    assert len(told) >= 3, worker.log
    assert (declining.previews, other.previews) == ([], [])
    assert seeing.order[0] == "connected"
    assert seeing.order.index("preview") < seeing.order.index("pose_completed")
    times = [at for at, _ in seeing.previews]
    assert all(third - first > 0.9 for first, third in zip(times, times[2:], strict=False))  # on this side of the wire
    pictures = {result["variationKey"]: result for result in results}
    assert {preview["variationKey"] for preview in told} <= set(pictures)
    assert len({preview["variationKey"] for preview in told}) >= 2
    for preview in told:
        assert isinstance(preview["image"], bytes)
        with Image.open(io.BytesIO(preview["image"])) as image:
            image.load()
            assert image.size == (preview["width"], preview["height"]) == (32, 32)
        assert 1 <= preview["step"] < preview["steps"] == 40
        assert preview["generationId"] == ordered
        assert preview["poseLibraryId"] == pictures[preview["variationKey"]]["poseLibraryId"]
    assert {result["status"] for result in results} == {"completed"}
    stored = [file for file in (service.folder / "var" / "storage").rglob("*") if ordered in str(file)]
    assert len([file for file in stored if file.is_file()]) == 2 * len(results)
