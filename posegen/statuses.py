"""Every state of the domain and the moves between them, in one place.

A move is always a conditional UPDATE that says whether it won; MOVES is the table those updates are tested against.
"""

from enum import StrEnum


class GenerationStatus(StrEnum):
    """An order's state as the customer sees it; derived from its items when the last of them becomes final."""

    PENDING = "pending"  # reserved for orders that wait for an approval; none is made today
    PROCESSING = "processing"  # accepted and paid, some pictures not final; a crash leaves it here, healed by leases
    COMPLETED = "completed"  # every picture is final and at least one was delivered
    FAILED = "failed"  # every picture is final and none was delivered; all of it is refunded
    CANCELLED = "cancelled"  # the customer stopped it; what was delivered stays, the rest is refunded


class ItemStatus(StrEnum):
    """A work item's state: one picture to be made (or one background, or one detection)."""

    QUEUED = "queued"  # safe in SQL, nobody holds it
    DRAWING = "drawing"  # one worker holds it until lease_until; after a crash the lease lapses and it is queued again
    COMPLETED = "completed"  # delivered, in the transaction that wrote its picture
    FAILED = "failed"  # cannot be drawn; refunded in the same transaction
    CANCELLED = "cancelled"  # stopped by the customer before delivery; refunded in the same transaction


class ItemKind(StrEnum):
    """What a work item asks of a worker."""

    POSE = "pose"  # draw a person in a pose
    BACKGROUND = "background"  # put another background behind a delivered picture
    DETECT = "detect"  # find the key-points in a photo; belongs to no generation and costs nothing


class DetectionStatus(StrEnum):
    """A detection's state as its customer sees it; told from its item's."""

    QUEUED = "queued"  # the photo is stored and waits for a worker
    PROCESSING = "processing"  # a worker looks at it; a crash leaves it here, healed by leases
    COMPLETED = "completed"  # the key-points are there; the photo is deleted
    FAILED = "failed"  # there are none, and the message says why; the photo is deleted


class EntryType(StrEnum):
    """Why a balance changed."""

    PURCHASE = "purchase"  # credits were bought
    BONUS = "bonus"  # an operator granted them; each grant has a reference of its own
    USAGE = "usage"  # an order, or a later background change; the only negative one
    REFUND = "refund"  # what one picture or background cost, because it was not delivered


class PoseRequestStatus(StrEnum):
    """How far the wish for a new library pose is."""

    PENDING = "pending"  # nobody has decided yet
    APPROVED = "approved"  # the house wants to make it
    IN_PROGRESS = "in_progress"  # somebody is making it
    COMPLETED = "completed"  # the pose is in the library; the request names it
    REJECTED = "rejected"  # it will not be made; the notes say why


class WorkerStatus(StrEnum):
    """What a worker process says of itself; a worker whose heartbeat is old is dead whatever it said."""

    STARTING = "starting"  # alive, its engine is being loaded
    READY = "ready"  # draws
    DRAINING = "draining"  # takes nothing new; its silence from here on is no crash
    STOPPED = "stopped"  # said goodbye; holds nothing


class EventType(StrEnum):
    """The `type` of a message to the frontend."""

    STARTED = "started"  # the first picture of the generation is being drawn; once
    PROGRESS = "progress"  # the counts, after each picture that became final
    POSE_COMPLETED = "pose_completed"  # a picture became final: delivered, or failed with its reason
    COMPLETED = "completed"  # the generation is final with at least one picture
    FAILED = "failed"  # the generation is final without any
    CANCELLED = "cancelled"  # the customer stopped the generation


ITEM_MOVES: dict[ItemStatus, frozenset[ItemStatus]] = {
    ItemStatus.QUEUED: frozenset({ItemStatus.DRAWING, ItemStatus.CANCELLED}),
    ItemStatus.DRAWING: frozenset({ItemStatus.QUEUED, ItemStatus.COMPLETED, ItemStatus.FAILED, ItemStatus.CANCELLED}),
    ItemStatus.COMPLETED: frozenset(),
    ItemStatus.FAILED: frozenset(),
    ItemStatus.CANCELLED: frozenset(),
}
"""Moves an item may make. A final state is left by nothing."""

OPEN_ITEM_STATUSES = (ItemStatus.QUEUED, ItemStatus.DRAWING)
"""Paid for, neither delivered nor refunded yet."""

FINAL_GENERATION_STATUSES = (GenerationStatus.COMPLETED, GenerationStatus.FAILED, GenerationStatus.CANCELLED)

OPEN_REQUEST_STATUSES = (PoseRequestStatus.PENDING, PoseRequestStatus.APPROVED, PoseRequestStatus.IN_PROGRESS)
"""Not decided or not made yet; one customer has one open request of a name."""
