"""Which engine this process draws with: a CUDA card, a hosted endpoint, the CPU, or the torch-free fake of the tests.

torch is imported here and nowhere else in the worker, and only after the process has reported that it is starting. A
worker that was told to draw at an endpoint never imports it.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from gpu_worker.errors import CannotStart, CardBroke, EngineBroke
from models.engine import Engine
from models.errors import CardFailed, ModelsError, OutOfMemory
from models.fake import FakeEngine
from models.mannequin import built_in_profile
from models.memory_plan import Plan, WeightPrecision, gib
from models.profiles import FLUX1_DEV, TINY, parse_sources, profile, sourced
from models.quality import VERDICTS, doubt, lossy_mode
from models.switches import AttentionKind, Compiling
from models.velocity_cache import CacheMode
from models.weights import find_weights
from posegen.settings import Settings
from posegen.workforce import Drawing

if TYPE_CHECKING:
    from gpu_worker.process import Options
    from models.hosted.backends import Backend
    from models.hosted.engine import HostedEngine

log = structlog.get_logger()

FAKE = "fake"
"""`--device fake:0.05` steps in 0.05 s and draws noise; for load and chaos tests, never chosen by itself.

With `fake:0.05:troubled` a prompt makes the trouble it names (`trouble-nan`; see models.fake.FakeTrouble).
"""
TROUBLED = "troubled"
AUTO, HOSTED = "auto", "hosted"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedEngine:
    """An engine that is warm, what it runs on, and how: in which precision, compiled or not, with which attention.

    None: it has none of it, as the fake. hosted: the same engine, when it draws at an endpoint.
    """

    engine: Engine
    device: str
    device_name: str | None
    compiled: bool | None = None
    attention: str | None = None
    precision: str | None = None
    memory_total_bytes: int | None = None
    hosted: "HostedEngine | None" = None

    @property
    def follows_poses(self) -> bool:
        """Whether its pictures follow poses."""
        return self.hosted is None or self.hosted.backend.follows_poses

    def drawing(self, *, metrics_port: int | None = None) -> Drawing:
        """Return how it draws now, as far as its engine tells."""
        cache: CacheMode | None = getattr(self.engine, "cache", None)
        return Drawing(
            backend=self.engine.profile.name if self.hosted is None else self.hosted.backend.name,
            precision=self.precision,
            cache=cache.value if cache is not None else None,
            attention=self.attention,
            compiled=getattr(self.engine, "compiled", self.compiled),
            memory_total_bytes=self.memory_total_bytes,
            metrics_port=metrics_port,
        )


def open_engine(options: "Options", settings: Settings) -> LoadedEngine:
    """Load and warm the engine. Raises CannotStart for what a restart will not mend, else CardBroke or EngineBroke."""
    try:
        if options.device.split(":")[0] == FAKE:
            return _fake(options, settings)
        if options.device == HOSTED or (options.device == AUTO and _auto_is_hosted(settings)):
            return _hosted(options, settings)
        if find_spec("torch") is None:
            raise CannotStart(
                "torch is not installed: pip install -c constraints.txt '.[gpu]', or set HF_ENDPOINT_URL to draw at an "
                "endpoint (docs/hosted.md)."
            )
        return _local(options, settings)
    except CardFailed as error:
        raise CardBroke(str(error)) from error
    except OutOfMemory as error:  # the process before this one may still hold the card's memory
        raise EngineBroke(str(error)) from error
    except ModelsError as error:
        raise CannotStart(str(error)) from error


def memory_bytes(device: str) -> int | None:
    """Return the card memory this process has reserved; None away from CUDA."""
    if not device.startswith("cuda"):
        return None
    import torch

    return int(torch.cuda.memory_reserved(device))


def _fake(options: "Options", settings: Settings) -> LoadedEngine:
    _, step_s, more = (*options.device.split(":", 2), "", "")[:3]
    drawn = profile(options.profile or settings.profile or TINY.name)
    log.warning("engine.fake", message="This worker draws noise instead of pictures; it is for tests.")
    rows = options.max_batch or drawn.cpu_max_batch
    cache = _cache(options, settings)
    engine = FakeEngine(drawn, rows, float(step_s or 0.0), cache=cache, prompts_trouble=more == TROUBLED)
    return LoadedEngine(engine=engine, device=options.device, device_name="no model: noise for tests")


def _auto_is_hosted(settings: Settings) -> bool:
    """Tell whether a worker that chooses by itself draws at an endpoint: one is set, and there is no card."""
    if not settings.may_be_hosted:
        return False
    if find_spec("torch") is None:
        return True
    import torch

    return not torch.cuda.is_available()


def _hosted(options: "Options", settings: Settings) -> LoadedEngine:
    from models.hosted.engine import HostedEngine

    drawn = profile(options.profile or settings.profile or FLUX1_DEV.name)
    backend = _backend(drawn.name, settings)
    if not backend.follows_poses:
        log.warning("engine.without_poses", message="This worker draws only orders that allow pictures without poses.")
    engine = HostedEngine(drawn, backend, calls_at_once=settings.worker_concurrency)
    return LoadedEngine(engine=engine, device=HOSTED, device_name=backend.name, hosted=engine)


def _backend(drawn: str, settings: Settings) -> "Backend":
    from models.hosted.backends import SERVERLESS_URL, EndpointBackend, ServerlessBackend

    if settings.hf_endpoint_url:
        return EndpointBackend(settings.hf_endpoint_url, settings.endpoint_token, profile=drawn)
    if settings.serverless_token is not None:
        return ServerlessBackend(settings.serverless_token, url=settings.hf_serverless_url or SERVERLESS_URL)
    raise CannotStart(
        "There is nothing to draw at: set HF_ENDPOINT_URL, or HUGGINGFACE_API_KEY for pictures without poses "
        "(docs/hosted.md)."
    )


def _local(options: "Options", settings: Settings) -> LoadedEngine:
    import torch

    from models.devices import device_title, resolve_device
    from models.loading import load_engine, plan_for

    device = resolve_device(options.device)
    name = options.profile or settings.profile or _profile_for(device.type, settings)
    sources = parse_sources(settings.model_sources)
    asked = options.precision or settings.precision
    precision = WeightPrecision(asked) if asked else None
    _tell_doubt(name, lossy_mode(precision, _cache(options, settings)), device_title(device), settings)
    plan = plan_for(name, str(device), cache_dir=settings.models_dir, precision=precision, sources=sources)
    if plan is not None:
        _tell(plan)
    log.info("engine.loading", device=str(device), profile=name)
    engine = load_engine(
        name,
        str(device),
        cache_dir=settings.models_dir,
        max_batch=options.max_batch,
        previews=settings.previews,
        sources=sources,
        plan=plan,
        loras_dir=settings.loras_folder,
        cache=_cache(options, settings),
        compile=Compiling(options.compile or settings.compile),
        attention=AttentionKind(options.attention or settings.attention),
    )
    log.info("engine.warming_up", compiled=engine.compiled, attention=engine.attention)
    began = monotonic()
    engine.warm_up()
    log.info("engine.warm", compiled=engine.compiled, warm_up_s=round(monotonic() - began, 1))
    for (width, height), forward_s in engine.measured.items():
        rows = engine.batching.size_limit((width, height))
        log.info("engine.batch", size=f"{width}x{height}", rows=rows, forward_s=forward_s)
    if engine.view is not None:
        log.info("engine.previews", view=engine.view.name, note=engine.view.note)
    card = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    weights = plan.precision.value if plan is not None else WeightPrecision.BF16.value
    return LoadedEngine(
        engine=engine,
        device=str(device),
        device_name=card.name if card is not None else None,
        compiled=engine.compiled,
        attention=engine.attention,
        precision=weights if card is not None else "fp32",
        memory_total_bytes=card.total_memory if card is not None else None,
    )


def _cache(options: "Options", settings: Settings) -> CacheMode:
    return CacheMode(options.cache or settings.cache)


def _tell_doubt(profile_name: str, mode: str | None, device_name: str, settings: Settings) -> None:
    """Warn of a lossy mode whose pictures were not judged good on this machine."""
    doubted = mode and doubt(settings.var_dir / VERDICTS, profile_name, mode, device_name)
    if doubted:
        log.warning("engine.lossy_mode_not_judged", mode=mode, reason=doubted, judge="scripts/quality_check.py")


def _tell(plan: Plan) -> None:
    """Log a plan before it is carried out: what goes where, what was added up, and why."""
    log.info(
        "engine.plan",
        weights=plan.precision.value,
        controlnet=plan.controlnet_precision.value,
        text_encoders=plan.text.value,
        modulation=plan.modulation.value,
        streamed=plan.offload.value,
        autoencoder=plan.decoding.value,
        rows={f"{width}x{height}": rows for (width, height), rows in plan.rows},
        memory={line.what: gib(line.bytes) for line in plan.lines},
        used=gib(plan.used_bytes),
        card=gib(plan.card_bytes),
        host=gib(plan.host_bytes),
        reasons=plan.reasons,
    )


def _profile_for(device_type: str, settings: Settings) -> str:
    """Return FLUX for a card when its weights are on disk, else the built-in model: the mannequin, or tiny."""
    if device_type == "cuda":
        try:
            find_weights(sourced(FLUX1_DEV, parse_sources(settings.model_sources)), settings.models_dir)
        except ModelsError as error:
            log.warning("engine.built_in_model", reason=str(error))
        else:
            return FLUX1_DEV.name
    return built_in_profile().name
