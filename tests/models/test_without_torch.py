"""What must start without torch does: the data for everyone, the batching rule and the fake engine for tests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Blocked())
"""

DRAW = """
import models.sample, models.schedule, models.engine
from models.fake import FakeEngine
from models.profiles import profile
from models.requests import Finished, PictureRequest
engine = FakeEngine(profile("tiny"), 2)
for key in "abc":
    engine.submit(PictureRequest(key=key, prompt="x", control=None, width=256, height=256, seed=1, steps=2,
                                 guidance=3.5, control_scale=0.9, control_end=0.9))
finished = []
while engine.has_work():
    finished += [outcome.key for outcome in engine.step().outcomes if isinstance(outcome, Finished)]
print(sorted(finished), engine.forwards)
"""


def run_without(blocked: set[str], code: str) -> str:
    script = BLOCK.replace("{blocked}", repr(blocked)) + code
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_batching_and_the_fake_engine_draw_without_torch() -> None:
    printed = run_without({"torch", "diffusers", "transformers"}, DRAW)
    assert printed == "['a', 'b', 'c'] [('a', 'b'), ('a', 'b'), ('c',), ('c',)]"


def test_profiles_and_requests_are_read_without_numpy_and_pillow() -> None:
    code = "import models.profiles, models.requests, models.errors, models.batching; print('read')"
    assert run_without({"torch", "numpy", "PIL", "diffusers", "transformers"}, code) == "read"
