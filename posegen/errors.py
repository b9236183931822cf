"""What can go wrong in the domain, as one tree; the edges decide what each means on their wire.

    PosegenError
    ├── BadInput                 the caller sent something that cannot be accepted; nothing was changed
    │   ├── NotAvailableYet      asked for something that this version does not do
    │   ├── WordingRefused       a prompt with wording the house does not draw
    │   ├── BackupUnfit          (posegen.backup) no whole backup, or one that cannot be laid here
    │   ├── TooLarge             an upload with more bytes or pixels than are read here
    │   └── UnsupportedMedia     an upload in a format that is not read here
    ├── NotFound                 no such thing, or it belongs to somebody else
    ├── Conflict                 the thing is in a state that does not allow it
    │   ├── EmailTaken
    │   ├── PosesNotFollowed     nothing that draws at the moment can follow a pose, and the order wants that
    │   └── NotWiped             (posegen.dumps) a backup would be laid where something is
    ├── LoginRefused             e-mail and password do not belong together
    ├── NotEnoughCredits         the balance does not cover the order
    ├── QuotaExceeded            the unlimited tier's pictures of today do not cover the order
    ├── IdempotencyMismatch      the key was used before, with another body
    └── Unavailable              a part of the service is away; try again later
        ├── DatabaseAway         nothing was written
        │   └── OutcomeUnknown   it fell silent in COMMIT: the writing may be done
        ├── BellAway             Redis does not answer; the order itself is safe in SQL
        ├── StorageAway
        ├── NoProfileKnown       no worker ever reported and PROFILE is not set
        ├── NoDetector           no live worker can find poses in photos
        ├── TooBusy              more photos are being uploaded than are checked at a time
        ├── DumpFailed           (posegen.dumps) the database's own tools could not write or read a dump
        ├── RedisServerMissing   (posegen.private_redis) there is no redis-server on this machine
        └── RedisNotStarted      (posegen.private_redis) the private Redis ended or did not answer

Key-points, pose files and maps have a tree of their own under PoseError (posegen.poses.errors), which knows nothing of
the service; whoever hands a pose in gets a BadInput made from it.

Every class has a stable `code`; facts are attributes; `str(error)` is one sentence a person can act on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


class PosegenError(Exception):
    """Root of the domain's errors."""

    code = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """One refused field of an input: its wire name, and a sentence about it."""

    field: str
    message: str


class BadInput(PosegenError):
    """The input cannot be accepted; `problems` names every refused field."""

    code = "bad_input"

    def __init__(self, message: str, problems: Sequence[FieldProblem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class NotAvailableYet(BadInput):
    """The feature is on the wire but not built yet; nothing was charged."""

    code = "not_available_yet"

    def __init__(self, feature: str, field: str) -> None:
        message = f"{feature} is not available yet."
        super().__init__(message, [FieldProblem(field=field, message=message)])
        self.feature = feature


class WordingRefused(BadInput):
    """A prompt holds wording that is not drawn here."""

    code = "wording_refused"

    def __init__(self, field: str, word: str) -> None:
        message = f'The wording "{word}" is not drawn here; please describe the picture without it.'
        super().__init__(message, [FieldProblem(field=field, message=message)])
        self.word = word


class TooLarge(BadInput):
    """An upload has more bytes or pixels than are read here."""

    code = "too_large"

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message, [FieldProblem(field=field, message=message)])


class UnsupportedMedia(BadInput):
    """An upload is in a format that is not read here."""

    code = "unsupported_media"

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message, [FieldProblem(field=field, message=message)])


class NotFound(PosegenError):
    """There is no such thing for this user."""

    code = "not_found"

    def __init__(self, kind: str, ids: Sequence[str]) -> None:
        named = ", ".join(ids)
        super().__init__(f"There is no {kind} {named}." if len(ids) == 1 else f"There are no {kind}s {named}.")
        self.kind = kind
        self.ids = tuple(ids)


class Conflict(PosegenError):
    """The thing's state does not allow this."""

    code = "conflict"


class EmailTaken(Conflict):
    """An account with this e-mail exists."""

    code = "email_taken"

    def __init__(self, email: str) -> None:
        super().__init__("An account with this e-mail exists already; log in instead.")
        self.email = email


class PosesNotFollowed(Conflict):
    """Everything that draws at the moment knows words only, and the order does not allow that."""

    code = "poses_not_followed"

    def __init__(self) -> None:
        super().__init__(
            "Nothing that draws here at the moment can follow a pose, so nothing was charged: try again later, or send "
            "allowPoseless: true to have pictures of the words alone."
        )


class LoginRefused(PosegenError):
    """E-mail and password do not belong together (which of them is wrong is not told)."""

    code = "login_refused"

    def __init__(self) -> None:
        super().__init__("E-mail or password is wrong.")


class NotEnoughCredits(PosegenError):
    """The balance does not cover the price; nothing was charged."""

    code = "not_enough_credits"

    def __init__(self, *, required: int, balance: int) -> None:
        super().__init__(f"This order costs {required} credits and your balance is {balance}.")
        self.required = required
        self.balance = balance


class QuotaExceeded(PosegenError):
    """Today's quota of the unlimited tier does not cover the order; nothing was taken, credits are not touched."""

    code = "quota_exceeded"

    def __init__(self, *, required: int, remaining: int, daily_quota: int, resets_at: datetime) -> None:
        super().__init__(
            f"This order has {required} pictures and {remaining} of today's {daily_quota} are left; "
            f"the quota starts anew at {resets_at:%H:%M} UTC."
        )
        self.required = required
        self.remaining = remaining
        self.daily_quota = daily_quota
        self.resets_at = resets_at


class IdempotencyMismatch(PosegenError):
    """The Idempotency-Key was used before with another body."""

    code = "idempotency_mismatch"

    def __init__(self, key: str) -> None:
        super().__init__("This Idempotency-Key was used for a different order; use a fresh key.")
        self.key = key


class Unavailable(PosegenError):
    """A part of the service is away; the same call may succeed later."""

    code = "unavailable"


class DatabaseAway(Unavailable):
    """The database does not answer; nothing was charged, nothing half-done."""

    code = "database_away"

    def __init__(
        self, message: str = "The database does not answer; nothing was charged. Please try again in a moment."
    ) -> None:
        super().__init__(message)


class OutcomeUnknown(DatabaseAway):
    """The database fell silent in the middle of COMMIT; only it knows whether the writing was done."""

    code = "outcome_unknown"

    def __init__(self) -> None:
        super().__init__(
            "The database fell silent at the last moment, so this may have been done. Please look before you try "
            "again; with the same Idempotency-Key nothing is charged twice."
        )


class BellAway(Unavailable):
    """Redis does not answer."""

    code = "bell_away"

    def __init__(self) -> None:
        super().__init__("Redis does not answer; orders are kept and drawn when it returns.")


class StorageAway(Unavailable):
    """The picture store does not answer or refuses to write."""

    code = "storage_away"

    def __init__(self, key: str) -> None:
        super().__init__(f"The picture store could not be reached for {key}.")
        self.key = key


class NoProfileKnown(Unavailable):
    """No worker has ever reported, and the setting PROFILE is empty, so sizes and prices of steps are unknown."""

    code = "no_profile_known"

    def __init__(self) -> None:
        super().__init__("No worker has reported yet; start one (python -m gpu_worker) or set PROFILE.")


class TooBusy(Unavailable):
    """More photos are being uploaded than are checked at a time; nothing was stored."""

    code = "too_busy"

    def __init__(self) -> None:
        super().__init__("Many photos are being uploaded at the moment; please try again in a few seconds.")


class NoDetector(Unavailable):
    """No live worker can find poses in photos; `reasons` tells why of each worker, `to_do` what an operator types."""

    code = "no_detector"

    def __init__(self, reasons: Sequence[str], *, to_do: str) -> None:
        super().__init__(
            "Photos cannot be turned into poses here at the moment; use words, key-points or the library instead."
        )
        self.reasons = tuple(reasons)
        self.to_do = to_do
