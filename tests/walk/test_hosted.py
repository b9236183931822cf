"""Orders through a worker without a card: at our own handler in a process of its own, and at words-only serverless."""

import io
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from support.hosting import endpoint, paints
from support.processes import RealProcess
from support.waiting import wait_until

if TYPE_CHECKING:
    from .conftest import Customer, Service

APP = "/api/apps/pose-generator"
SCRIPTS = Path(__file__).parents[2] / "scripts" / "hf_endpoint"
TOKEN = "hf_this-is-a-secret"
pytestmark = pytest.mark.timeout(400)


def endpoint_process(folder: Path) -> RealProcess:
    """Our handler, out of a repository that holds it and `models/` only, served as Hugging Face serves it."""
    repository = folder / "repository"
    subprocess.run([sys.executable, SCRIPTS / "assemble.py", repository], check=True, capture_output=True, timeout=60)
    return RealProcess(
        ["python", SCRIPTS / "serve_here.py", repository, "--port", "0", "--token", TOKEN],
        log_file=folder / "endpoint.log",
        env={"PROFILE": "tiny", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        cwd=folder,
    )


def start(service: "Service", *arguments: str) -> RealProcess:
    service.start_api()
    worker = service.start_worker("worker", *arguments, "--profile", "tiny")
    worker.wait_for_log("worker.ready", timeout_s=120)
    return worker


def ends(customer: "Customer", generation_id: str) -> list[dict[str, object]]:
    """Wait for the end of a generation, and return its pictures."""
    wait_until(lambda: customer.status(generation_id) == "completed", timeout_s=120)
    results: list[dict[str, object]] = customer.get(f"{APP}/generations/{generation_id}/results")["results"]
    return results


def test_an_order_is_drawn_by_the_endpoints_own_handler_with_its_poses(
    sqlite_service: "Service", tmp_path: Path
) -> None:
    with endpoint_process(tmp_path) as server:
        server.wait_for_log(" serves ", timeout_s=180)
        assert f"the code in {tmp_path / 'repository' / 'models'}" in server.log
        address = next(word for word in server.log.split() if word.startswith("http://127.0.0.1:"))
        sqlite_service.configure(HF_ENDPOINT_URL=address, HF_ENDPOINT_TOKEN=TOKEN, WORKER_CONCURRENCY="2")
        worker = start(sqlite_service, "--device", "hosted")
        ann = sqlite_service.customer("ann", credits=1000)

        pictures = ends(ann, ann.order(2, 2, steps=4))

        assert [(one["backend"], one["poseApplied"]) for one in pictures] == [("hf-endpoint", True)] * 4
        for one in pictures:
            assert Image.open(io.BytesIO(ann.fetch(str(one["outputImageUrl"])))).size == (256, 256)
        (told,) = ann.get(f"{APP}/health")["workers"]
        assert (told["device"], told["followsPoses"]) == ("hosted", True)
        wait_until(lambda: ann.get(f"{APP}/health")["workers"][0]["hosted"]["state"] == "ready", timeout_s=20)
        assert worker.terminate() == 0
        assert TOKEN not in worker.log
        sqlite_service.house.assert_books_balance()


def test_the_serverless_service_draws_only_what_allows_it(sqlite_service: "Service") -> None:
    with endpoint(paints()) as server:
        sqlite_service.configure(HF_SERVERLESS_URL=server.url, HUGGINGFACE_API_KEY=TOKEN, HOSTED_WITHOUT_POSE="allow")
        worker = start(sqlite_service, "--device", "auto")
        ann = sqlite_service.customer("ann", credits=1000)
        wait_until(lambda: ann.get(f"{APP}/health")["workers"][0]["followsPoses"] is False, timeout_s=20)

        refused = ann.order_body(1, 2)
        problem = ann.post(f"{APP}/generate", refused, expect=409)
        assert problem["code"] == "poses_not_followed"
        assert ann.get("/api/credits/balance")["data"]["balance"] == 1000

        pictures = ends(ann, ann.order(1, 2, allowPoseless=True))

        assert [(one["backend"], one["poseApplied"]) for one in pictures] == [("hf-serverless", False)] * 2
        assert ann.get("/api/credits/balance")["data"]["balance"] == 940
        assert TOKEN not in worker.log
        sqlite_service.house.assert_books_balance()
