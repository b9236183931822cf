"""Poses: key-points as values, OpenPose JSON in and out, control maps and previews, and the files of the pose library.

Import from here; the modules below are one concept each. Nothing in this package knows a database, the web or torch.
"""

from posegen.poses.authoring import AuthoredPose, read_pose_file
from posegen.poses.contact_sheet import contact_sheet
from posegen.poses.drawing import draw_pose
from posegen.poses.errors import MapSizeRefused, PoseError, PoseFileRefused, PoseRefused, SheetRefused
from posegen.poses.framing import frame_pose
from posegen.poses.keypoints import MAX_PEOPLE, KeyPoint, Person, Pose
from posegen.poses.library_files import AuthoredCategory, LibraryFiles, read_library
from posegen.poses.openpose import ImportedPose, pose_from_openpose, pose_to_openpose
from posegen.poses.preview import draw_preview
from posegen.poses.rendering import Rendering, pose_png
from posegen.poses.transforms import composed_pose, fitted_pose, mirrored_pose

__all__ = [
    "MAX_PEOPLE",
    "AuthoredCategory",
    "AuthoredPose",
    "ImportedPose",
    "KeyPoint",
    "LibraryFiles",
    "MapSizeRefused",
    "Person",
    "Pose",
    "PoseError",
    "PoseFileRefused",
    "PoseRefused",
    "Rendering",
    "SheetRefused",
    "composed_pose",
    "contact_sheet",
    "draw_pose",
    "draw_preview",
    "fitted_pose",
    "frame_pose",
    "mirrored_pose",
    "pose_from_openpose",
    "pose_png",
    "pose_to_openpose",
    "read_library",
    "read_pose_file",
]
