"""Words choose the skeleton: the nearest poses of a library, bent by a small grammar of what people say of poses.

Import from here; the modules below are one concept each. Nothing in this package knows a database, the web or torch,
and nothing it returns fails the validator of poses.
"""

from posegen.words.choosing import Candidate, best_poses
from posegen.words.ranking import LibraryEntry
from posegen.words.reading import Wish, read_wish
from posegen.words.variations import Variation, variations_of

__all__ = ["Candidate", "LibraryEntry", "Variation", "Wish", "best_poses", "read_wish", "variations_of"]
