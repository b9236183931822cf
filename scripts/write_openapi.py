"""Write docs/openapi.json: the OpenAPI document as a running service answers it at /openapi.json.

The same bytes on every machine: it depends on the routes and on the package's version, on no settings and no torch.
"""

import json
import re
from pathlib import Path

from api.app import routed_app

_NUMBERS = re.compile(r"\[\s+(?:-?[\d.]+,\s+)*-?[\d.]+\s+\]")
"""A list of numbers; key-points fit on a line."""
FILE = Path(__file__).parents[1] / "docs" / "openapi.json"


def openapi_text() -> str:
    """Return what the file must hold."""
    text = json.dumps(routed_app().openapi(), indent=2, sort_keys=True, ensure_ascii=False)
    return _NUMBERS.sub(lambda found: " ".join(found.group().split()), text) + "\n"


if __name__ == "__main__":
    FILE.write_text(openapi_text(), encoding="utf-8")
    print(f"Wrote {FILE.relative_to(Path.cwd()) if FILE.is_relative_to(Path.cwd()) else FILE}.")
