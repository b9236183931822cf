"""The engine's thread: when a call of the engine is a hang."""

from typing import Any

import pytest

from gpu_worker import engine_thread
from gpu_worker.desk import Desk
from gpu_worker.engine_thread import EngineThread
from gpu_worker.meter import Meter
from models.fake import FakeEngine
from models.profiles import TINY
from models.requests import PictureRequest


@pytest.mark.parametrize("prepares", [False, True])
def test_a_call_that_compiles_is_given_the_time_of_a_first_one(prepares: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_thread, "LATER_CALL_S", 0.0)
    was_well: list[bool] = []
    engine = FakeEngine(TINY, 1, step_s=1.0, sleep=lambda _s: was_well.append(thread.is_well()))
    forward = engine.forward

    def meet(rows: Any) -> None:
        engine._prepares = prepares
        forward(rows)

    monkeypatch.setattr(engine, "forward", meet)
    thread = EngineThread(engine, Desk(), Meter(), lambda _outcome: thread.stop())
    engine.submit(
        PictureRequest(
            key="a",
            prompt="x",
            control=None,
            width=128,
            height=128,
            seed=1,
            steps=1,
            guidance=3.5,
            control_scale=0.9,
            control_end=0.9,
        )
    )
    thread.run()
    assert was_well == [prepares]
    assert thread.is_well()
