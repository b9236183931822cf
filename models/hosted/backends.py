"""The two places that a hosted engine asks, behind one protocol: our own handler, or the serverless text-to-image.

Both go through one kind of HTTP client: no redirects (they would carry the token elsewhere), bodies of a bounded size,
no compression, and deadlines for each part; the engine adds one for the whole call.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import httpx2
from PIL import Image, UnidentifiedImageError

from models.errors import LorasRefused, PoseRefused
from models.hosted.faults import Fault, FaultKind, Patience, fault_of_status
from models.hosted.wire import (
    Answered,
    CallRefused,
    Drawn,
    WireRefused,
    judged,
    pixels_of,
    read_answer,
    write_call,
)
from models.requests import PictureRequest

ENDPOINT = "hf-endpoint"
SERVERLESS = "hf-serverless"
PICTURES_PER_CALL = 4
MOST_ANSWER_BYTES = 48 * 2**20
"""Four of the largest pictures as noise, in base64, with room to spare."""
SERVERLESS_URL = "https://router.huggingface.co/hf-inference/models/black-forest-labs/FLUX.1-dev"


class Backend(Protocol):
    """Where pictures are asked for. Used in one event loop."""

    name: str
    pictures_per_call: int
    follows_poses: bool

    def check(self, request: PictureRequest) -> None:
        """Raise the RequestRefused that fits, when this backend can never draw `request`."""

    async def draw(self, requests: Sequence[PictureRequest]) -> list[Answered]:
        """Make one call; return what came for each request. Raises Fault."""

    async def close(self) -> None:
        """Let the connections go."""


class EndpointBackend:
    """A dedicated endpoint that runs our handler: it follows poses, several pictures a call."""

    name = ENDPOINT
    pictures_per_call = PICTURES_PER_CALL
    follows_poses = True

    def __init__(self, url: str, token: str | None, *, profile: str, patience: Patience | None = None) -> None:
        self._url = url
        self._profile = profile
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", **_bearer(token)}
        self._client = bounded_client(patience or Patience())

    def check(self, request: PictureRequest) -> None:
        """Refuse nothing that the profile draws; the endpoint knows which LoRAs lie there."""

    async def draw(self, requests: Sequence[PictureRequest]) -> list[Answered]:
        """Ask the handler for these pictures. Raises Fault."""
        body = await asyncio.to_thread(write_call, self._profile, requests)
        with _Faults():
            answer = await self._client.post(self._url, content=body, headers=self._headers)
            if answer.status_code != 200:
                raise fault_of_status(answer.status_code, answer.headers)
        _check_type(answer.headers, "application/json")
        try:
            return await asyncio.to_thread(read_answer, answer.content, self._profile, requests)
        except CallRefused as e:
            raise Fault(FaultKind.AWAY, str(e)) from e
        except WireRefused as e:
            raise Fault(FaultKind.BROKE, str(e)) from e

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.aclose()


class ServerlessBackend:
    """The serverless text-to-image of FLUX.1-dev, through huggingface_hub: prompts only, one picture a call."""

    name = SERVERLESS
    pictures_per_call = 1
    follows_poses = False

    def __init__(self, token: str, *, url: str = SERVERLESS_URL, patience: Patience | None = None) -> None:
        from huggingface_hub import AsyncInferenceClient, set_async_client_factory

        self._patience = patience or Patience()
        # The library's own client follows redirects and reads bodies of any size; this is its way to say otherwise.
        set_async_client_factory(lambda: bounded_client(self._patience))
        self._client = AsyncInferenceClient(model=url, provider="hf-inference", token=token)

    def check(self, request: PictureRequest) -> None:
        """Refuse poses that may not be left out, and LoRAs. Raises PoseRefused, LorasRefused."""
        if request.wants_pose and not request.allow_poseless:
            raise PoseRefused(self.name)
        if request.loras:
            raise LorasRefused(f"{self.name} applies none")

    async def draw(self, requests: Sequence[PictureRequest]) -> list[Answered]:
        """Ask for one picture of the prompt. Raises Fault."""
        from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError

        (request,) = requests
        began = time.perf_counter()
        try:
            with _Faults():
                picture = await self._client.text_to_image(
                    request.prompt,
                    width=request.width,
                    height=request.height,
                    num_inference_steps=request.steps,
                    guidance_scale=request.guidance,
                    seed=request.seed,
                )
        except InferenceTimeoutError as e:
            if isinstance(e.__cause__, httpx2.ConnectTimeout):
                raise Fault(FaultKind.AWAY, "no connection") from e
            raise Fault(FaultKind.LATE, "no answer in time") from e
        except HfHubHTTPError as e:
            raise fault_of_status(e.response.status_code, e.response.headers) from e
        except (UnidentifiedImageError, Image.DecompressionBombError) as e:
            raise Fault(FaultKind.BROKE, "the answer is no picture") from e
        drawn_s = time.perf_counter() - began
        try:
            pixels = await asyncio.to_thread(pixels_of, picture, request.size)
        except (WireRefused, OSError, SyntaxError) as e:
            raise Fault(FaultKind.BROKE, "the answer is not a picture of the size that was asked for") from e
        return [judged(Drawn(pixels=pixels, pose_applied=False, denoise_s=drawn_s, steps_run=request.steps))]

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.exit_stack.aclose()  # what its close() does; that one has no types


class AnswerTooLarge(httpx2.TransportError):
    """A body with more bytes than any answer has."""


class Redirected(httpx2.TransportError):
    """An answer that sends us elsewhere; the token stays here."""


def bounded_client(patience: Patience) -> httpx2.AsyncClient:
    """Return a client that stays with the address it was given and reads no more than MOST_ANSWER_BYTES of a body."""
    return httpx2.AsyncClient(
        transport=_BoundedTransport(MOST_ANSWER_BYTES),
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(patience.call_s, connect=patience.connect_s),
    )


class _BoundedTransport(httpx2.AsyncBaseTransport):
    def __init__(self, most_bytes: int) -> None:
        self._inner = httpx2.AsyncHTTPTransport()
        self._most_bytes = most_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._inner.handle_async_request(request)
        if 300 <= answer.status_code < 400:  # huggingface_hub would take its body for a picture
            await answer.aclose()
            raise Redirected(f"HTTP {answer.status_code}", request=request)
        told = answer.headers.get("content-length", "0")
        encoded = answer.headers.get("content-encoding", "identity")
        if encoded != "identity" or (told.isdecimal() and int(told) > self._most_bytes):
            await answer.aclose()
            raise AnswerTooLarge("the answer is compressed or too large", request=request)
        stream = answer.stream
        if not isinstance(stream, httpx2.AsyncByteStream):
            raise TypeError(f"{type(stream).__name__} is no asynchronous body")
        return httpx2.Response(
            status_code=answer.status_code,
            headers=answer.headers,
            stream=_BoundedStream(stream, self._most_bytes),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._inner = inner
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in self._inner:
            read += len(chunk)
            if read > self._most_bytes:
                raise AnswerTooLarge("the answer is too large")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Faults:
    """Tells what a broken connection means, by how far the call had come."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case AnswerTooLarge():
                raise Fault(FaultKind.BROKE, "the answer is too large") from error
            case Redirected():
                raise Fault(FaultKind.AWAY, f"it redirects, {error}") from error
            case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.UnsupportedProtocol() | httpx2.ProxyError():
                raise Fault(FaultKind.AWAY, "no connection") from error
            case httpx2.TimeoutException():
                raise Fault(FaultKind.LATE, "no answer in time") from error
            case httpx2.HTTPStatusError() | None:
                return
            case httpx2.TransportError():
                raise Fault(FaultKind.BROKE, "the connection broke off") from error


def _check_type(headers: Mapping[str, str], expected: str) -> None:
    told = headers.get("content-type", "").partition(";")[0].strip().lower()
    if told != expected:
        raise Fault(FaultKind.BROKE, f"the answer is not {expected}")


def _bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
