"""From weights that were found to a detector that is loaded. The libraries are imported here, at the first photo."""

from models.detectors.people import PoseDetector
from models.detectors.weights import RTMLIB, FoundWeights
from models.errors import DetectorFailed


def open_detector(found: FoundWeights, *, device: str) -> PoseDetector:
    """Load a detector onto "cpu" or "cuda:N". Takes seconds. Raises DetectorFailed."""
    try:
        if found.weights is RTMLIB:
            from models.detectors.rtm import RtmDetector

            people_model, points_model = found.paths
            return RtmDetector(people_model, points_model, device=device)
        from models.detectors.openpose import OpenPoseDetector

        body, hand, face = found.paths
        return OpenPoseDetector(body, hand, face, device=device)
    except ImportError as e:
        raise DetectorFailed(found.weights.name, f"its library cannot be imported: {e}") from e
