"""Draw poses of the library here and at an endpoint beside each other: docs/hosted.png.

    python scripts/hosted_sheet.py [FILE] [--poses 6]

The endpoint is our own handler, assembled into a folder of its own and served on this machine (hf_endpoint), so both
draw with the built-in model on the CPU. The captions tell the largest difference of any pixel, in steps of 8 bits.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.engine import Engine
from models.hosted.backends import EndpointBackend
from models.hosted.engine import HostedEngine
from models.loading import load_engine
from models.profiles import TINY
from models.requests import Failed, Finished, PictureRequest, Returned
from posegen.poses import contact_sheet, draw_pose, read_library

ROOT = Path(__file__).resolve().parent.parent
SHEET = ROOT / "docs" / "hosted.png"
CELL_PX = 150
COLUMNS = 2
STEPS = 8


def main() -> int:
    """Draw, compare and write the sheet."""
    parser = argparse.ArgumentParser(description="Draw poses here and at an endpoint beside each other.")
    parser.add_argument("file", type=Path, nargs="?", default=SHEET)
    parser.add_argument("--poses", type=int, default=6)
    asked = parser.parse_args()
    poses = read_library().poses[: asked.poses]
    requests = [
        PictureRequest(
            key=str(index),
            prompt=f"a person, {authored.name}",
            control=draw_pose(authored.pose, *TINY.default_size),
            width=TINY.default_size[0],
            height=TINY.default_size[1],
            seed=index,
            steps=STEPS,
            guidance=TINY.default_guidance,
            control_scale=TINY.default_control_scale,
            control_end=TINY.default_control_end,
        )
        for index, authored in enumerate(poses)
    ]
    with tempfile.TemporaryDirectory() as folder:
        here = load_engine("tiny", "cpu", cache_dir=Path(folder) / "models")
        drawn_here = _draw(here, requests)
        here.close()
        drawn_there = _draw_at_an_endpoint(Path(folder), requests)
    cells = []
    for authored, request in zip(poses, requests, strict=True):
        one, other = drawn_here[request.key], drawn_there[request.key]
        apart = int(np.abs(one.astype(int) - other.astype(int)).max())
        control = request.control or Image.new("RGB", request.size)
        pictures = [control, Image.fromarray(one), Image.fromarray(other)]
        cells.append((pictures, f"{authored.name}: pose, here, endpoint; {apart}/255 apart"))
    sheet = contact_sheet(cells, columns=COLUMNS, cell_px=CELL_PX)
    sheet.quantize(256, dither=Image.Dither.NONE).save(asked.file, optimize=True)
    print(f"{len(cells)} poses, {asked.file.stat().st_size // 1024} KiB: {asked.file}")
    return 0


def _draw_at_an_endpoint(folder: Path, requests: list[PictureRequest]) -> dict[str, NDArray[np.uint8]]:
    """Draw with our handler in a process of its own, with nothing of ours in its folder but `models/`."""
    scripts = ROOT / "scripts" / "hf_endpoint"
    repository = folder / "repository"
    subprocess.run([sys.executable, scripts / "assemble.py", repository], check=True, capture_output=True)
    environment = {**os.environ, "PROFILE": "tiny", "MODELS_DIR": str(folder / "models"), "CUDA_VISIBLE_DEVICES": ""}
    serve: list[str | Path] = [sys.executable, scripts / "serve_here.py", repository, "--port", "0"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder) as server:
        try:
            said = server.stdout.readline() if server.stdout else ""
            engine = HostedEngine(TINY, EndpointBackend(said.split()[0], None, profile="tiny"))
            drawn = _draw(engine, requests)
            engine.close()
        finally:
            server.terminate()
    return drawn


def _draw(engine: Engine, requests: list[PictureRequest]) -> dict[str, NDArray[np.uint8]]:
    for request in requests:
        engine.submit(request)
    drawn: dict[str, NDArray[np.uint8]] = {}
    while engine.has_work():
        for outcome in engine.step().outcomes:
            if isinstance(outcome, Failed | Returned):
                raise outcome.error
            if isinstance(outcome, Finished):
                drawn[outcome.key] = np.rint(outcome.pixels * 255).astype(np.uint8)
    return drawn


if __name__ == "__main__":
    sys.exit(main())
