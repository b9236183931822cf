"""The rows of the domain. What the code promises about money and states is also a constraint here.

Columns that a later feature fills (backgrounds, exports, LoRA, quota) exist from the first migration, so that the
truth about an order never has to move. Identifiers are UUIDv7 strings; times are UTC; people are OpenPose key-points.
"""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from posegen.identifiers import new_id
from posegen.statuses import (
    OPEN_REQUEST_STATUSES,
    EntryType,
    GenerationStatus,
    ItemKind,
    ItemStatus,
    PoseRequestStatus,
    WorkerStatus,
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time; SQLite keeps it naive, PostgreSQL as timestamptz. Naive times are refused with ValueError."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store as UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Row(DeclarativeBase):
    """Base of every table."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as a class attribute
        str: String(200),
        datetime: UtcDateTime(),
        date: Date(),
        float: Float(),
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
    }


def _one_of(column: str, statuses: type) -> CheckConstraint:
    values = ", ".join(f"'{member}'" for member in statuses)  # type: ignore[attr-defined]
    return CheckConstraint(f"{column} IN ({values})", name=f"{column}_known")


_OPEN_REQUESTS = f"status IN ({', '.join(f'{status!r}' for status in map(str, OPEN_REQUEST_STATUSES))})"


class User(Row):
    """A customer or an administrator. `credit_balance` always equals the sum of the user's ledger entries.

    `logins_valid_from` is when the password was last changed, which ended every login from before; null: never.
    """

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("credit_balance >= 0", name="balance_not_negative"),
        CheckConstraint("quota_used >= 0", name="quota_not_negative"),
        CheckConstraint("quota_used = 0 OR quota_day IS NOT NULL", name="quota_has_day"),
        CheckConstraint("unlimited_daily_quota >= 1", name="daily_quota_positive"),
        CheckConstraint("role IN ('user', 'admin')", name="role_known"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    name: Mapped[str | None]
    password_hash: Mapped[str | None]
    logins_valid_from: Mapped[datetime | None]
    role: Mapped[str] = mapped_column(String(16), default="user")
    credit_balance: Mapped[int] = mapped_column(BigInteger, default=0)
    unlimited_until: Mapped[datetime | None]
    unlimited_daily_quota: Mapped[int] = mapped_column(Integer, default=100)
    quota_day: Mapped[date | None]
    quota_used: Mapped[int] = mapped_column(Integer, default=0)
    event_counter: Mapped[int] = mapped_column(BigInteger, default=0)
    last_served_at: Mapped[datetime | None]
    last_login_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class LedgerEntry(Row):
    """One change of one balance; unique (reference, type, part): nothing is paid or refunded twice.

    Triggers refuse to change or delete one (version 0003): a mistake is made good by another entry.
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (
        UniqueConstraint("reference", "type", "part"),
        CheckConstraint(
            "(type = 'usage' AND amount_credits < 0) OR (type <> 'usage' AND amount_credits > 0)", name="sign_fits_type"
        ),
        _one_of("type", EntryType),
        Index(None, "user_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    type: Mapped[str] = mapped_column(String(16))
    amount_credits: Mapped[int] = mapped_column(BigInteger)
    reference: Mapped[str] = mapped_column(String(64))
    part: Mapped[str]
    description: Mapped[str] = mapped_column(String(500))
    created_at: Mapped[datetime]


FAVORITE_COUNTS_AS = 5
"""So many pictures drawn in a pose make it as popular as one that a customer marked as a favourite."""


class PoseCategory(Row):
    """A shelf of the library; shelves may stand in a shelf."""

    __tablename__ = "pose_categories"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    slug: Mapped[str] = mapped_column(String(100), unique=True)
    name: Mapped[str]
    display_name: Mapped[str]
    description: Mapped[str | None] = mapped_column(Text)
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("pose_categories.id"), index=True)
    icon: Mapped[str | None]
    color: Mapped[str | None] = mapped_column(String(16))
    display_order: Mapped[int] = mapped_column(Integer, default=0)
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class LibraryPose(Row):
    """A pose of the library. `people` is OpenPose JSON in 0..1 of a canvas of `aspect` (width / height)."""

    __tablename__ = "poses"
    __table_args__ = (Index(None, "category_id"), Index(None, "is_public", "popularity_score"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    slug: Mapped[str] = mapped_column(String(100), unique=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(Text)
    category_id: Mapped[str] = mapped_column(ForeignKey("pose_categories.id"))
    people: Mapped[dict[str, Any]]
    preview_key: Mapped[str | None] = mapped_column(String(500))
    thumbnail_key: Mapped[str | None] = mapped_column(String(500))
    control_key: Mapped[str | None] = mapped_column(String(500))
    reference_key: Mapped[str | None] = mapped_column(String(500))
    difficulty: Mapped[str] = mapped_column(String(16))
    gender_suitability: Mapped[str] = mapped_column(String(16))
    tags: Mapped[list[str]]
    source_type: Mapped[str] = mapped_column(String(24), default="curated")
    source_credit: Mapped[str | None]
    license_type: Mapped[str | None]
    usage_count: Mapped[int] = mapped_column(Integer, default=0)
    favorite_count: Mapped[int] = mapped_column(Integer, default=0)
    rating_avg: Mapped[float | None]
    popularity_score: Mapped[float] = mapped_column(default=0.0)
    is_public: Mapped[bool] = mapped_column(Boolean, default=True)
    is_featured: Mapped[bool] = mapped_column(Boolean, default=False)
    is_premium: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    category: Mapped[PoseCategory] = relationship(lazy="joined")

    @hybrid_property
    def popularity(self) -> float:
        """How much the pose is used and liked, on top of the score that it was given by hand."""
        return self.popularity_score + self.usage_count + FAVORITE_COUNTS_AS * self.favorite_count


class AvatarProject(Row):
    """A customer's folder of avatars."""

    __tablename__ = "avatar_projects"
    __table_args__ = (Index(None, "user_id", "created_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str]
    description: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Avatar(Row):
    """A person that pictures are made of: one photo and what is known of its looks.

    A deleted avatar that projects still name keeps its row and its picture until the last of them is gone.
    """

    __tablename__ = "avatars"
    __table_args__ = (Index(None, "user_id", "created_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    project_id: Mapped[str | None] = mapped_column(ForeignKey("avatar_projects.id"), index=True)
    name: Mapped[str]
    gender: Mapped[str | None]
    age_range: Mapped[str | None]
    ethnicity: Mapped[str | None]
    body_type: Mapped[str | None]
    hair_style: Mapped[str | None]
    hair_color: Mapped[str | None]
    eye_color: Mapped[str | None]
    skin_tone: Mapped[str | None]
    style: Mapped[str | None]
    loras: Mapped[list[Any]] = mapped_column(default=list)
    image_key: Mapped[str] = mapped_column(String(500), unique=True)
    thumbnail_key: Mapped[str] = mapped_column(String(500), unique=True)
    width_px: Mapped[int] = mapped_column(Integer)
    height_px: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class Project(Row):
    """A customer's folder of generations around one avatar.

    `default_for` is the avatar whose orders without a project go here; unique, so that two at once make one folder.
    """

    __tablename__ = "projects"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'archived', 'deleted')", name="status_known"),
        CheckConstraint("avatar_source IN ('AVATAR_CREATOR', 'UPLOAD')", name="avatar_source_known"),
        Index(None, "user_id", "created_at"),
        Index(None, "default_for", unique=True),
        Index(None, "avatar_id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    project_name: Mapped[str]
    description: Mapped[str | None] = mapped_column(Text)
    avatar_source: Mapped[str] = mapped_column(String(24))
    avatar_id: Mapped[str | None] = mapped_column(String(36))
    avatar_image_url: Mapped[str | None] = mapped_column(String(2000))
    default_for: Mapped[str | None] = mapped_column(String(36))
    status: Mapped[str] = mapped_column(String(16), default="active")
    total_generations: Mapped[int] = mapped_column(Integer, default=0)
    total_poses_generated: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Generation(Row):
    """One paid order. Its counters change in the transactions that make its pictures final.

    `quota_day` is the day whose quota paid for it: usually that of `created_at`, but an order may wait past midnight.
    `request_id` is that of the HTTP request that ordered it, for logs.
    """

    __tablename__ = "generations"
    __table_args__ = (
        _one_of("status", GenerationStatus),
        CheckConstraint("credit_charged >= 0", name="charge_not_negative"),
        CheckConstraint("credit_refunded >= 0", name="refund_not_negative"),
        CheckConstraint("credit_refunded <= credit_charged", name="refund_within_charge"),
        CheckConstraint("quota_charged BETWEEN 0 AND total_expected_poses", name="quota_within_total"),
        CheckConstraint("quota_charged = 0 OR (unlimited AND quota_day IS NOT NULL)", name="quota_has_day"),
        CheckConstraint("total_expected_poses >= 1", name="total_positive"),
        CheckConstraint(
            "poses_completed >= 0 AND poses_failed >= 0 AND poses_cancelled >= 0", name="counts_not_negative"
        ),
        CheckConstraint(
            "poses_completed + poses_failed + poses_cancelled <= total_expected_poses", name="counts_within_total"
        ),
        CheckConstraint(
            "status IN ('pending', 'processing') OR (completed_at IS NOT NULL"
            " AND poses_completed + poses_failed + poses_cancelled = total_expected_poses)",
            name="final_is_counted",
        ),
        CheckConstraint("status <> 'completed' OR poses_completed > 0", name="completed_has_picture"),
        CheckConstraint("status <> 'failed' OR poses_completed = 0", name="failed_has_none"),
        Index(None, "user_id", "created_at"),
        Index(None, "project_id", "created_at"),
        Index(None, "status", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    generation_type: Mapped[str] = mapped_column(String(32))
    text_prompt: Mapped[str | None] = mapped_column(Text)
    generated_pose_structure: Mapped[dict[str, Any] | None]
    avatar_id: Mapped[str | None] = mapped_column(String(36))
    avatar_attributes: Mapped[dict[str, Any] | None]
    batch_size: Mapped[int] = mapped_column(Integer)
    total_expected_poses: Mapped[int] = mapped_column(Integer)
    use_background_changer: Mapped[bool] = mapped_column(Boolean, default=False)
    background_mode: Mapped[str | None] = mapped_column(String(24))
    background_prompt: Mapped[str | None] = mapped_column(Text)
    background_color: Mapped[str | None] = mapped_column(String(16))
    background_image_url: Mapped[str | None] = mapped_column(String(2000))
    export_formats: Mapped[list[str]] = mapped_column(default=list)
    loras: Mapped[list[Any]] = mapped_column(default=list)
    profile: Mapped[str] = mapped_column(String(64))
    allow_poseless: Mapped[bool] = mapped_column(Boolean, default=False)
    unlimited: Mapped[bool] = mapped_column(Boolean, default=False)
    quota_charged: Mapped[int] = mapped_column(Integer, default=0)
    quota_day: Mapped[date | None]
    retry_of: Mapped[str | None] = mapped_column(String(36))
    status: Mapped[str] = mapped_column(String(16))
    poses_completed: Mapped[int] = mapped_column(Integer, default=0)
    poses_failed: Mapped[int] = mapped_column(Integer, default=0)
    poses_cancelled: Mapped[int] = mapped_column(Integer, default=0)
    credit_charged: Mapped[int] = mapped_column(Integer)
    credit_refunded: Mapped[int] = mapped_column(Integer, default=0)
    queue_job_id: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(String(64))
    drawing_s: Mapped[float] = mapped_column(default=0.0)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]


class ForgottenGeneration(Row):
    """What is left of a generation that was forgotten (posegen.retention): what the ledger and the quota say of it."""

    __tablename__ = "forgotten_generations"
    __table_args__ = (
        CheckConstraint("credit_refunded BETWEEN 0 AND credit_charged", name="refund_within_charge"),
        CheckConstraint("quota_kept >= 0", name="quota_not_negative"),
        Index(None, "user_id", "quota_day"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    credit_charged: Mapped[int] = mapped_column(Integer)
    credit_refunded: Mapped[int] = mapped_column(Integer)
    quota_day: Mapped[date | None]
    quota_kept: Mapped[int] = mapped_column(Integer)
    forgotten_at: Mapped[datetime]


class IdempotencyKey(Row):
    """An order's Idempotency-Key with the answer it got, kept so that a repeat is answered alike and charged once."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(String(64))
    answer: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(index=True)


class WorkItem(Row):
    """One picture to be made: everything a worker needs, fixed when it was paid for.

    `attempt` grows with each claim and fences every later write; `lease_until` is by the database's clock. `crashes`
    counts lapses whose worker died, `alone_crashes` those in which it was drawn alone; a suspect is drawn alone.
    `retry_of` is the undelivered item that a later order repeats; unique, so that nobody pays for it twice.
    """

    __tablename__ = "work_items"
    __table_args__ = (
        _one_of("status", ItemStatus),
        _one_of("kind", ItemKind),
        UniqueConstraint("generation_id", "part"),
        CheckConstraint(
            "status <> 'drawing' OR (lease_until IS NOT NULL AND worker IS NOT NULL)", name="drawing_is_leased"
        ),
        CheckConstraint("status = 'drawing' OR lease_until IS NULL", name="only_drawing_is_leased"),
        CheckConstraint("status <> 'drawing' OR attempt >= 1", name="drawing_has_attempt"),
        CheckConstraint("kind = 'detect' OR generation_id IS NOT NULL", name="belongs_to_generation"),
        CheckConstraint("price_credits >= 0", name="price_not_negative"),
        UniqueConstraint("retry_of"),
        # The line: each user's queued pictures by age stand together, so choosing reads heads instead of sorting all.
        Index(
            "ix_work_items_line",
            *("status", "profile", "kind", "unlimited", "user_id", "queued_at", "id"),
        ),
        Index(None, "status", "lease_until"),
        Index(None, "profile", "claimed_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(String(16))
    generation_id: Mapped[str | None] = mapped_column(ForeignKey("generations.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    status: Mapped[str] = mapped_column(String(16), default=ItemStatus.QUEUED)
    variation_key: Mapped[str]
    part: Mapped[str]
    pose_id: Mapped[str | None] = mapped_column(ForeignKey("poses.id"))
    people: Mapped[dict[str, Any] | None]
    prompt: Mapped[str] = mapped_column(Text, default="")
    seed: Mapped[int] = mapped_column(BigInteger)
    redraw: Mapped[int] = mapped_column(Integer, default=0)
    profile: Mapped[str] = mapped_column(String(64))
    width_px: Mapped[int] = mapped_column(Integer)
    height_px: Mapped[int] = mapped_column(Integer)
    steps: Mapped[int] = mapped_column(Integer)
    guidance: Mapped[float]
    control_scale: Mapped[float]
    control_end: Mapped[float]
    loras: Mapped[list[Any]] = mapped_column(default=list)
    extras: Mapped[dict[str, Any] | None]
    price_credits: Mapped[int] = mapped_column(Integer)
    unlimited: Mapped[bool] = mapped_column(Boolean, default=False)
    retry_of: Mapped[str | None] = mapped_column(String(36))
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    crashes: Mapped[int] = mapped_column(Integer, default=0)
    alone_crashes: Mapped[int] = mapped_column(Integer, default=0)
    drawn_alone: Mapped[bool] = mapped_column(Boolean, default=False)
    worker: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    queued_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]


class GeneratedPicture(Row):
    """A picture that became final: delivered (with its object keys) or failed (with the reason)."""

    __tablename__ = "generated_pictures"
    __table_args__ = (
        UniqueConstraint("generation_id", "variation_key"),
        CheckConstraint("status IN ('completed', 'failed')", name="status_known"),
        CheckConstraint("status = 'failed' OR output_key IS NOT NULL", name="delivered_has_output"),
        Index(None, "user_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    generation_id: Mapped[str] = mapped_column(ForeignKey("generations.id"))
    work_item_id: Mapped[str] = mapped_column(ForeignKey("work_items.id"), unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    pose_library_id: Mapped[str | None] = mapped_column(ForeignKey("poses.id"))
    variation_key: Mapped[str]
    status: Mapped[str] = mapped_column(String(16))
    output_key: Mapped[str | None] = mapped_column(String(500))
    thumbnail_key: Mapped[str | None] = mapped_column(String(500))
    original_key: Mapped[str | None] = mapped_column(String(500))
    export_keys: Mapped[dict[str, Any]] = mapped_column(default=dict)
    background_changed: Mapped[bool] = mapped_column(Boolean, default=False)
    background_prompt: Mapped[str | None] = mapped_column(Text)
    prompt_used: Mapped[str | None] = mapped_column(Text)
    seed_used: Mapped[int | None] = mapped_column(BigInteger)
    controlnet_weight: Mapped[float | None]
    loras: Mapped[list[Any]] = mapped_column(default=list)
    generation_time_s: Mapped[float | None]
    ai_confidence_score: Mapped[float | None]
    backend: Mapped[str | None] = mapped_column(String(64))
    pose_applied: Mapped[bool] = mapped_column(Boolean, default=False)
    identity_applied: Mapped[bool] = mapped_column(Boolean, default=False)
    licence: Mapped[str | None]
    width_px: Mapped[int] = mapped_column(Integer)
    height_px: Mapped[int] = mapped_column(Integer)
    worker: Mapped[str | None]
    is_favorite: Mapped[bool] = mapped_column(Boolean, default=False)
    download_count: Mapped[int] = mapped_column(Integer, default=0)
    error_message: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]


class PoseRequest(Row):
    """A pose that a customer misses in the library. One name is asked for once at a time by one customer."""

    __tablename__ = "pose_requests"
    __table_args__ = (
        _one_of("status", PoseRequestStatus),
        CheckConstraint("votes_count >= 1", name="votes_positive"),
        CheckConstraint("status <> 'completed' OR completed_pose_id IS NOT NULL", name="completed_has_pose"),
        Index(None, "user_id", "created_at"),
        Index(None, "status", "created_at"),
        Index(
            "ix_pose_requests_open",
            *("user_id", "folded_name"),
            unique=True,
            sqlite_where=text(_OPEN_REQUESTS),
            postgresql_where=text(_OPEN_REQUESTS),
        ),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    pose_name: Mapped[str]
    folded_name: Mapped[str] = mapped_column(String(400))
    description: Mapped[str] = mapped_column(Text)
    category_id: Mapped[str | None] = mapped_column(ForeignKey("pose_categories.id"))
    use_case: Mapped[str | None]
    reference_image_url: Mapped[str | None] = mapped_column(String(2000))
    status: Mapped[str] = mapped_column(String(16), default=PoseRequestStatus.PENDING)
    votes_count: Mapped[int] = mapped_column(Integer, default=1)
    admin_notes: Mapped[str | None] = mapped_column(Text)
    completed_pose_id: Mapped[str | None] = mapped_column(ForeignKey("poses.id"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class RecoveryRun(Row):
    """When the last round of healing ended, whichever process ran it. One row."""

    __tablename__ = "recovery_runs"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    ended_at: Mapped[datetime]


class StoredObject(Row):
    """A file in the picture store that some row names; its content type lives here, not in the store.

    The day's turn of the chores stands here too, without a file (posegen.turns).
    """

    __tablename__ = "stored_objects"

    key: Mapped[str] = mapped_column(String(500), primary_key=True)
    content_type: Mapped[str] = mapped_column(String(100))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class UserEvent(Row):
    """One message to a user's frontend; `event_id` grows by one per user, in the transaction of what it tells."""

    __tablename__ = "events"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    event_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    generation_id: Mapped[str | None] = mapped_column(String(36), index=True)
    type: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(index=True)


class WorkerRow(Row):
    """What a worker process says of itself every few seconds. A name is used by one process, once.

    process: who it is on its machine (posegen.processes); died_at: when a neighbour there saw that it is gone.
    """

    __tablename__ = "workers"
    __table_args__ = (_one_of("status", WorkerStatus),)

    name: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int] = mapped_column(Integer)
    device: Mapped[str] = mapped_column(String(64))
    device_name: Mapped[str | None]
    profile: Mapped[str] = mapped_column(String(64))
    capabilities: Mapped[dict[str, Any]] = mapped_column(default=dict)
    status: Mapped[str] = mapped_column(String(16))
    max_batch: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    rows_active: Mapped[int] = mapped_column(Integer, default=0)
    steps_per_s: Mapped[float | None]
    pictures_per_s: Mapped[float | None]
    busy_share: Mapped[float | None]
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    error_message: Mapped[str | None] = mapped_column(Text)
    process: Mapped[str | None] = mapped_column(String(200))
    died_at: Mapped[datetime | None]
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime] = mapped_column(index=True)
