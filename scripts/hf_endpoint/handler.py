"""The custom handler of a Hugging Face Inference Endpoint: our own `models/`, with pose control, behind their HTTP.

Copied to the root of a model repository beside `models/` (`assemble.py` does it); docs/hosted.md tells how. The
endpoint's server makes one `EndpointHandler` and calls it with the parsed body of each request, one at a time. What
that raises becomes an HTTP 400, which says that the request is wrong: so nothing is raised for a request here, and
every picture is answered for itself. Settings are environment variables of the endpoint, named as a worker's are.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.engine import Engine
from models.errors import CardFailed, ModelsError, RequestRefused, WeightsMissing
from models.hosted.wire import WireRefused, read_call, write_answer, write_refusal
from models.loading import load_engine, plan_for
from models.memory_plan import WeightPrecision
from models.profiles import FLUX1_DEV, Profile, parse_sources, profile, sourced
from models.pulling import Puller
from models.requests import Outcome, PictureRequest
from models.weights import find_weights

log = logging.getLogger(__name__)

ENDED_AFTER_S = 1.0
"""How long the last answer of a broken card gets to leave the house."""


class EndpointHandler:
    """What the endpoint's server makes once. path: the repository's folder; weights and LoRAs may lie in it."""

    def __init__(self, path: str = "") -> None:
        folder = Path(path or ".")
        self._profile = profile(os.environ.get("PROFILE") or FLUX1_DEV.name)
        self._lock = threading.Lock()
        self._is_broken = False
        self._calls = 0
        self._engine = _engine(self._profile, folder)
        self._engine.warm_up()
        log.info("drawing %s, %d rows at once", self._profile.name, self._engine.max_batch)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Draw what a call asks for; see models.hosted.wire for its form. Never raises."""
        try:
            asked = read_call(data, self._profile)
            with self._lock:
                if self._is_broken:
                    return write_refusal("its card failed, and it is about to be started again")
                return write_answer(self._profile.name, self._draw(asked))
        except WireRefused as refused:
            return write_refusal(str(refused))
        except CardFailed as failed:
            self._is_broken = True
            log.exception("the card failed")
            end_soon()
            return write_refusal(str(failed))
        except Exception as surprise:  # the outermost frame: raised, it would tell the caller that its request is wrong
            log.exception("not drawn")
            return write_refusal(f"it failed in a way nobody foresaw ({type(surprise).__name__})")

    def _draw(self, asked: list[PictureRequest | ModelsError]) -> list[Outcome | ModelsError]:
        """Draw all that can be drawn, together; return an outcome or an error for each, in order."""
        self._calls += 1
        keys = [f"{self._calls}:{index}" for index in range(len(asked))]  # none twice, whatever a call left behind
        answers: dict[str, Outcome | ModelsError] = {}
        for key, request in zip(keys, asked, strict=True):
            if isinstance(request, ModelsError):
                answers[key] = request
                continue
            try:
                self._engine.submit(replace(request, key=key))
            except RequestRefused as refused:
                answers[key] = refused
        try:
            while self._engine.has_work():
                answers.update((outcome.key, outcome) for outcome in self._engine.step().outcomes)
        finally:
            for key in self._engine.live_keys():  # only after something was raised
                self._engine.cancel(key)
        return [answers[key] for key in keys]


def _engine(known: Profile, folder: Path) -> Engine:
    """Load the engine; weights that are neither in the repository nor fetched yet are fetched first."""
    weights = Path(os.environ.get("MODELS_DIR") or folder / "weights")
    sources = parse_sources(os.environ.get("MODEL_SOURCES", ""))
    if known.base is not None:
        _fetch_missing(sourced(known, sources), weights)
    precision = WeightPrecision(os.environ["PRECISION"]) if os.environ.get("PRECISION") else None
    return load_engine(
        known.name,
        "auto",
        cache_dir=weights,
        sources=sources,
        plan=plan_for(known.name, "auto", cache_dir=weights, precision=precision, sources=sources),
        loras_dir=folder / "loras",
    )


def _fetch_missing(known: Profile, weights: Path) -> None:
    try:
        find_weights(known, weights)
    except WeightsMissing as missing:
        log.info("fetching weights: %s", missing)
        puller = Puller(token=os.environ.get("HF_TOKEN"))
        for pull in puller.plan(known):
            puller.fetch(pull)


def end_soon(end: Callable[[int], None] = os._exit) -> None:
    """End this process after its last answer: a broken card heals in a new process only, and the platform makes one."""
    sys.stderr.flush()
    timer = threading.Timer(ENDED_AFTER_S, end, (70,))
    timer.daemon = True
    timer.start()
