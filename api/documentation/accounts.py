"""Logging in and credits."""

from typing import Any

from api.documentation.operation import Operation, Operations
from api.documentation.story import DRAWN, GENERATION, MORNING, ORDERED, TOKEN, USER
from api.errors import TooManyRequests
from posegen.errors import Conflict, EmailTaken, LoginRefused

_TOO_OFTEN = TooManyRequests(840, {"RateLimit-Policy": '"logins";q=5;w=900', "RateLimit": '"logins";r=0;t=840'})
_LOGIN: dict[str, Any] = {"success": True, "data": {"user": USER, "token": TOKEN}}
_PROFILE: dict[str, Any] = {**_LOGIN, "user": USER, "token": TOKEN}
_NEW_USER: dict[str, Any] = {**USER, "creditBalance": 0}

OPERATIONS: Operations = {
    "POST /api/auth/register": Operation(
        id="register",
        requests={"account": {"email": "ann@studio.example", "password": "correct horse battery", "name": "Ann"}},
        answer={"success": True, "data": {"user": _NEW_USER, "token": TOKEN}},
        refuses=(EmailTaken("ann@studio.example"), _TOO_OFTEN),
    ),
    "POST /api/auth/login": Operation(
        id="logIn",
        requests={"login": {"email": "ann@studio.example", "password": "correct horse battery"}},
        answer=_LOGIN,
        refuses=(LoginRefused(), _TOO_OFTEN),
    ),
    "GET /api/auth/profile": Operation(id="readProfile", answer=_PROFILE),
    "PUT /api/auth/profile": Operation(
        id="changeProfile",
        requests={
            "name": {"name": "Ann"},
            "password": {"currentPassword": "correct horse battery", "newPassword": "an even longer sentence"},
        },
        answer=_PROFILE,
        refuses=(
            EmailTaken("ann@studio.example"),
            Conflict("Your password was changed just now; please try again."),
            _TOO_OFTEN,
        ),
    ),
    "GET /api/credits/balance": Operation(id="readBalance", answer={"success": True, "data": {"balance": 940}}),
    "GET /api/credits/history": Operation(
        id="listCreditEntries",
        answer=[
            {
                "id": "01a20bbd-26aa-7a10-8f0e-5f3d1f6a9c11",
                "amount": 30,
                "type": "refund",
                "description": "Picture text-v3 could not be drawn",
                "referenceId": GENERATION,
                "createdAt": DRAWN,
            },
            {
                "id": "01a20bbd-25b3-7d09-9d0a-0f4ae1c8b0e2",
                "amount": -60,
                "type": "usage",
                "description": "2 pictures",
                "referenceId": GENERATION,
                "createdAt": ORDERED,
            },
            {
                "id": "01a20bbd-2336-7107-9960-e771d84c169a",
                "amount": 970,
                "type": "bonus",
                "description": "Welcome",
                "referenceId": "01a20bbd-2332-713d-908d-61d0526c3913",
                "createdAt": MORNING,
            },
        ],
    ),
}
