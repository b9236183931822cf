"""What the start script takes for a service that draws."""

from pathlib import Path
from typing import Any

import pytest
from service import Service, StopSignal

from posegen.settings import Settings


class Told(Service):
    """A service whose health is what the test says."""

    def __init__(self, folder: Path, health: dict[str, Any] | None) -> None:
        settings = Settings(_env_file=None, jwt_secret="a secret of more than thirty-two characters", var_dir=folder)
        super().__init__(settings, StopSignal.__new__(StopSignal))
        self.told = health

    def _health(self) -> dict[str, Any] | None:
        return self.told


def health(status: str, *, redis: str = "healthy", worker: str = "ready") -> dict[str, Any]:
    return {"status": status, "checks": {"redis": {"status": redis}}, "workers": [{"name": "w1", "status": worker}]}


@pytest.mark.parametrize("status", ["healthy", "degraded"])
def test_a_ready_worker_is_enough_even_beside_pictures_that_nobody_draws(tmp_path: Path, status: str) -> None:
    assert [worker["name"] for worker in Told(tmp_path, health(status))._ready_workers()] == ["w1"]


@pytest.mark.parametrize(
    "told",
    [None, health("degraded", redis="unhealthy"), health("degraded", worker="starting")],
    ids=["no answer", "no redis", "no worker"],
)
def test_without_redis_or_a_ready_worker_the_start_waits_on(tmp_path: Path, told: dict[str, Any] | None) -> None:
    assert Told(tmp_path, told)._ready_workers() == []
