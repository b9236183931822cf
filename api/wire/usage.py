"""What a customer has and has used, on the wire."""

from api.wire.base import Asked, Moment, Switch, Told
from api.wire.generations import PictureTold
from api.wire.library import url_or_none
from posegen.quota import Allowance
from posegen.statistics import PoseUse, Statistics
from posegen.storage import Links


class UnlimitedTold(Told):
    """The unlimited tier; without a subscription it is not active and nothing remains."""

    active: bool
    daily_quota: int
    used: int
    remaining: int
    reset_at: Moment
    expires_at: Moment | None

    @classmethod
    def of(cls, allowance: Allowance) -> "UnlimitedTold":
        """Describe an allowance."""
        return cls(
            active=allowance.active,
            daily_quota=allowance.daily_quota,
            used=allowance.used,
            remaining=allowance.remaining,
            reset_at=allowance.resets_at,
            expires_at=allowance.expires_at,
        )


class CreditsTold(Told):
    """What orders can be paid with."""

    balance: int
    unlimited: UnlimitedTold


class CreditUsage(Told):
    """Credits spent less credits refunded."""

    total_spent: int
    last30_days: int
    average_per_generation: float


class UsedPose(Told):
    """A pose and how many of the caller's pictures show it."""

    pose_id: str
    pose_name: str
    usage_count: int
    preview_url: str | None

    @classmethod
    def of(cls, use: PoseUse, links: Links) -> "UsedPose":
        """Describe the use of a pose."""
        pose = use.pose
        return cls(
            pose_id=pose.id,
            pose_name=pose.name,
            usage_count=use.pictures,
            preview_url=url_or_none(links, pose.thumbnail_key or pose.preview_key),
        )


class StatisticsTold(Told):
    """The caller's numbers."""

    total_poses_generated: int
    total_projects: int
    total_generations: int
    recent_generations: int
    credit_usage: CreditUsage
    top_used_poses: list[UsedPose]

    @classmethod
    def of(cls, found: Statistics, links: Links) -> "StatisticsTold":
        """Describe a user's numbers."""
        return cls(
            total_poses_generated=found.pictures,
            total_projects=found.projects,
            total_generations=found.generations,
            recent_generations=found.recent_generations,
            credit_usage=CreditUsage(
                total_spent=found.credits_spent,
                last30_days=found.credits_spent_last_30_days,
                average_per_generation=found.average_credits,
            ),
            top_used_poses=[UsedPose.of(use, links) for use in found.top_poses],
        )


class FavoriteBody(Asked):
    """Whether a picture is a favourite."""

    is_favorite: Switch


class FavoriteTold(Told):
    """A picture after that."""

    success: bool = True
    pose_id: str
    is_favorite: bool
    pose: PictureTold
