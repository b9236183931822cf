"""What can go wrong with poses: sentences a person can act on, with a stable `code` and the facts as attributes.

PoseError
├── PoseRefused       key-points that cannot be a pose: names the field
├── MapSizeRefused    a picture size no pose can be drawn at
├── PoseFileRefused   a library file that cannot be read: names the file and the field
└── SheetRefused      a contact sheet without cells
"""

from pathlib import Path


class PoseError(Exception):
    """Root of everything this package raises on purpose."""

    code = "pose_error"


class PoseRefused(PoseError):
    """The key-points are not a pose. `field` is a path such as `people[0].pose_keypoints_2d[4]`."""

    code = "pose_refused"

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(f"The pose cannot be used: {field} {reason}.")


class MapSizeRefused(PoseError):
    """The asked picture size is outside what poses are drawn at."""

    code = "map_size_refused"

    def __init__(self, width_px: int, height_px: int, least_px: int, most_px: int) -> None:
        self.width_px = width_px
        self.height_px = height_px
        super().__init__(
            f"A pose cannot be drawn at {width_px}x{height_px}: choose sides of {least_px} to {most_px} pixels."
        )


class PoseFileRefused(PoseError):
    """A file of the pose library cannot be read. `field` is a path inside the file, or `file` for the whole of it."""

    code = "pose_file_refused"

    def __init__(self, path: Path, field: str, reason: str) -> None:
        self.path = path
        self.field = field
        self.reason = reason
        super().__init__(f"{path.name}: {field} {reason}. Correct the file {path} and try again.")


class SheetRefused(PoseError):
    """A contact sheet was asked for in a form that has nothing to show."""

    code = "sheet_refused"
