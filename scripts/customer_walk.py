"""Walk the whole way of a customer, from signing up to the finished gallery, and stop at the first broken promise.

    python scripts/customer_walk.py [--url URL] [--folder FOLDER] [--transcript FILE]
                                    [--variations 2] [--steps N] [--size 256x256]

Only REST and Socket.IO are used, as any client uses them; credits are the operator's to give, so `posegen credits
grant` gives them. Without --url a service of its own is started in a folder of its own, with a real worker, and taken
down again. The transcript goes to the screen; the pictures beside the poses they were ordered in go to one sheet in
the folder. The exit code is 1 when something was not as promised.
"""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import socketio
from customer import Customer, PromiseBroken, Transcript
from customer_journey import CELL_PX, Walk, Wishes
from preparing import read_settings
from service import Service, StepFailed, StopSignal

from posegen.poses.contact_sheet import contact_sheet


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk; return the exit code."""
    asked = _parse(arguments)
    wishes = Wishes(variations=asked.variations, drawing=_drawing(asked))
    try:
        with _service(asked.url) as url:
            transcript = Transcript(_to(asked.transcript))
            transcript.title(f"A customer's walk, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
            customer = Customer(url, transcript)
            walk = Walk(customer, wishes, transcript)
            try:
                _go(walk, asked.folder)
            finally:
                walk.channel.close()
                customer.close()
    except (PromiseBroken, httpx2.HTTPError, socketio.exceptions.SocketIOError) as error:
        print(f"\nBROKEN: {error}")
        return 1
    except StepFailed as failure:
        print(f"\nThe service did not start: {failure.what} {failure.to_do}")
        return 1
    return 0


def _go(walk: Walk, folder: Path) -> None:
    walk.register()
    walk.make_avatar()
    walk.order_gallery(_grant)
    walk.order_words()
    walk.order_own_pose()
    walk.add_up()
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / "customer-walk.png"
    contact_sheet(walk.cells, columns=2, cell_px=CELL_PX).save(sheet)
    walk.script.title(f"Every promise was kept. {len(walk.cells)} pictures on {sheet.name}.")


@contextmanager
def _service(url: str | None) -> Iterator[str]:
    """Yield the address of the given service, or of one that lives as long as the block."""
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="posegen-walk-") as folder:
        os.environ.update({"JWT_SECRET": secrets.token_hex(32), "VAR_DIR": folder, "CUDA_VISIBLE_DEVICES": ""})
        service = Service(read_settings(), StopSignal())
        try:
            service.start_redis()
            os.environ["REDIS_URL"] = service.environment["REDIS_URL"]
            service.migrate()
            service.start_workers()
            service.start_api(service.port)
            service.prepare()
            service.wait_until_healthy()
            yield service.url
        finally:
            service.shut_down()


def _grant(email: str, amount: int) -> None:
    """Give a user credits, with the service's own command and its settings."""
    argv = [sys.executable, "-m", "posegen", "credits", "grant", email, str(amount)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise PromiseBroken(f"an operator can grant credits (seen: {done.stderr.strip() or done.stdout.strip()})")


def _to(file: Path | None) -> Callable[[str], None]:
    """Return what prints a line, and writes it to the file, if there is one."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")

    def say(line: str) -> None:
        print(line, flush=True)
        if file is not None:
            with file.open("a") as written:
                written.write(line.rstrip() + "\n")

    return say


def _drawing(asked: argparse.Namespace) -> dict[str, Any]:
    drawing: dict[str, Any] = {} if asked.steps is None else {"steps": asked.steps}
    if asked.size is not None:
        drawing["width"], drawing["height"] = asked.size
    return drawing


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running service, whose settings are in this folder or the environment")
    parser.add_argument("--folder", type=Path, default=Path("var/customer-walk"), help="where the sheet goes")
    parser.add_argument("--transcript", type=Path, help="a file for the transcript, beside the screen")
    parser.add_argument("--variations", type=int, default=2, help="pictures of each of the two library poses, 2 to 6")
    parser.add_argument("--steps", type=int, help="steps a picture (default: the profile's)")
    parser.add_argument("--size", type=_size, help="WIDTHxHEIGHT (default: the profile's)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
