"""The hosted endpoint: is one set, does it answer, does it let this token in. No picture is asked for, or paid.

An endpoint that sleeps is not woken: it says 503, and the first picture wakes it.
"""

import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any

from posegen.doctor.findings import Finding, Told
from posegen.doctor.subject import Subject

ANSWER_S = 5.0
"""How long the endpoint may be silent."""
_ANSWERS = {
    401: "does not accept the token",
    403: "does not let this token in",
    402: "is not paid for any more",
    404: "is not there: no endpoint of that name",
}


def check_endpoint(subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell whether the endpoint that pictures would be drawn at can be reached, and whether it follows poses."""
    settings = subject.settings
    if settings.hf_endpoint_url:
        yield _asked(settings.hf_endpoint_url, settings.endpoint_token, told)
    elif not subject.is_hosted:
        yield told.ok("none is set, and none is needed")
    elif settings.serverless_token is None:
        yield told.fail(
            "there is nothing to draw at",
            "Set HF_ENDPOINT_URL, or HUGGINGFACE_API_KEY for pictures without poses (docs/hosted.md).",
        )
    else:
        yield told.warn(
            "pictures are drawn by the serverless service, which follows no pose: only orders with allowPoseless",
            "Set HF_ENDPOINT_URL to an endpoint with our handler (docs/hosted.md).",
        )


class _StaysThere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token is for this address alone."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Take the redirect as the answer."""


def _asked(url: str, token: str | None, told: Told) -> Finding:
    page = "See the endpoint's page on https://endpoints.huggingface.co"
    status: int | str
    try:
        status = _status(f"{url.rstrip('/')}/health", token)
    except (OSError, HTTPException, ValueError) as error:
        why = (str(getattr(error, "reason", error)).splitlines() or [type(error).__name__])[0]
        return told.fail(f"the endpoint cannot be reached: {why}", f"{page}, and HF_ENDPOINT_URL.")
    if status < 400:
        return told.ok("the endpoint answers and lets this token in")
    if status in (502, 503, 504):
        return told.warn(f"the endpoint sleeps or starts ({status}): the first picture waits for it", page)
    if status in (405, 422):
        return told.ok(f"the endpoint is there ({status} to a question that it does not know)")
    says = _ANSWERS.get(status, f"answers {status}")
    return told.fail(f"the endpoint {says}", f"{page}; the token is HF_ENDPOINT_TOKEN, else HF_TOKEN.")


def _status(url: str, token: str | None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the operator's own, http or https by setting
    try:
        with urllib.request.build_opener(_StaysThere).open(request, timeout=ANSWER_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
