"""A pose as PNG bytes at a size somebody asks for: the control map, or the friendly preview.

The last few are kept in memory, since an editor asks for the same picture again and again; a pose is a value, so it
is its own key. Previews are drawn oversampled, hence their lower limit.
"""

from enum import StrEnum
from functools import lru_cache
from io import BytesIO
from typing import Final

from posegen.poses.drawing import draw_pose
from posegen.poses.errors import MapSizeRefused
from posegen.poses.keypoints import Pose
from posegen.poses.preview import draw_preview

LEAST_RENDERED_PX: Final = 64
MOST_RENDERED_PX: Final = {"map": 2048, "preview": 1024}
_KEPT: Final = 64


class Rendering(StrEnum):
    """What is drawn of a pose."""

    MAP = "map"  # what the model is given
    PREVIEW = "preview"  # a mannequin that people choose from


@lru_cache(maxsize=_KEPT)
def pose_png(pose: Pose, rendering: Rendering, width_px: int, height_px: int) -> bytes:
    """Return the picture as PNG; the same pose and size give the same bytes. Raises MapSizeRefused."""
    most_px = MOST_RENDERED_PX[rendering]
    if not all(LEAST_RENDERED_PX <= side <= most_px for side in (width_px, height_px)):
        raise MapSizeRefused(width_px, height_px, LEAST_RENDERED_PX, most_px)
    draw = draw_pose if rendering is Rendering.MAP else draw_preview
    buffer = BytesIO()
    draw(pose, width_px, height_px).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
