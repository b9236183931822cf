"""What the endpoint's own handler draws over HTTP is what the local engine draws, pose and all, but for 8 bits."""

from typing import Any

import numpy as np
from support.hosting import Handler, endpoint, toolkit

from models.hosted.backends import EndpointBackend
from models.hosted.engine import HostedEngine
from models.inflight import InflightEngine
from models.profiles import TINY
from models.requests import Finished

ONE_STEP = 1 / 255
"""Rounding to 8 bits, which may fall the other way where the two are 1e-5 apart."""


def test_pictures_of_the_endpoint_follow_their_poses_as_the_local_ones_do(
    tiny_handler: Handler, tiny_engine: InflightEngine, ask: Any, pose: Any, drain: Any
) -> None:
    poses = {"up": 0.8, "down": -0.8, "level": 0.0}
    requests = [ask(name, control=pose((128, 128), bend), steps=4) for name, bend in poses.items()]
    requests.append(ask("none", steps=4))
    with endpoint(toolkit(tiny_handler)) as server:
        hosted = HostedEngine(TINY, EndpointBackend(server.url, "hf_x", profile="tiny"))
        for request in requests:
            hosted.submit(request)
            tiny_engine.submit(request)
        there, here = drain(hosted)[0], drain(tiny_engine)[0]
        hosted.close()

    for name in (*poses, "none"):
        one, other = there[name], here[name]
        assert isinstance(one, Finished)
        assert isinstance(other, Finished)
        assert (one.pose_applied, one.steps_run) == (other.pose_applied, other.steps_run)
        assert float(np.abs(one.pixels - other.pixels).max()) <= ONE_STEP
    # And the pose is what makes the difference: the same words and seed look otherwise in another one.
    assert float(np.abs(there["up"].pixels - there["down"].pixels).max()) > 20 * ONE_STEP
    assert float(np.abs(there["up"].pixels - there["none"].pixels).max()) > 20 * ONE_STEP
