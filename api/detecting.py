"""Taking a photo whose pose shall be found: is there a detector, is it a photo, is it kept, and only then the bell."""

from fastapi import UploadFile

from api.access import Caller
from api.photos import checked_photo, discarded_if_refused
from api.service import Service
from posegen.database import database_now
from posegen.detections import place_detection, require_detector, require_room, store_photo


def take_photo(service: Service, caller: Caller, upload: UploadFile) -> str:
    """Store the photo, queue it and ring; return the detection's id. Nothing is charged.

    Raises NoDetector, Conflict (too many wait), what checked_photo raises, StorageAway and DatabaseAway.
    """
    with service.database.reading() as session:
        rings = require_detector(session, service.settings.detectors_dir, now=database_now(session))
        require_room(session, caller.id)
    stored = store_photo(service.storage, caller.id, checked_photo(service, caller, upload))
    with discarded_if_refused(service, (stored.key,)), service.database.writing() as session:
        detection_id = place_detection(session, caller.id, stored, now=database_now(session))
    service.announcer.ring(detection_id, times=rings)
    return detection_id
