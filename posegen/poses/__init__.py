"""Poses: key-points as values, OpenPose JSON in and out, control maps and previews, and the files of the pose library.

Import from here; the modules below are one concept each. Nothing in this package knows a database, the web or torch.
"""

from posegen.poses.drawing import draw_pose
from posegen.poses.errors import MapSizeRefused, PoseError, PoseFileRefused, PoseRefused, SheetRefused
from posegen.poses.framing import frame_pose
from posegen.poses.keypoints import MAX_PEOPLE, KeyPoint, Person, Pose
from posegen.poses.openpose import ImportedPose, pose_from_openpose, pose_to_openpose

__all__ = [
    "MAX_PEOPLE",
    "ImportedPose",
    "KeyPoint",
    "MapSizeRefused",
    "Person",
    "Pose",
    "PoseError",
    "PoseFileRefused",
    "PoseRefused",
    "SheetRefused",
    "draw_pose",
    "frame_pose",
    "pose_from_openpose",
    "pose_to_openpose",
]
