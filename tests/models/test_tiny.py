"""The built-in model: built from nothing in seconds, the same everywhere, and its pictures show prompt and pose."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from models.inflight import InflightEngine
from models.profiles import TINY
from models.requests import PictureRequest
from models.tiny import tiny_folder
from models.tiny.texts import COLOURS, build_clip_tokenizer, build_t5_tokenizer

ROOT = Path(__file__).parents[2]


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def draw(engine: InflightEngine, drain: Any, *requests: PictureRequest) -> list[np.ndarray]:
    for request in requests:
        engine.submit(request)
    outcomes = drain(engine)[0]
    return [outcomes[request.key].pixels for request in requests]


def figure(control: Image.Image) -> np.ndarray:
    """Where the pose map's figure stands, with some flesh on it; (height, width) of bool."""
    wide = control.convert("L").point(lambda grey: 255 if grey else 0).filter(ImageFilter.MaxFilter(17))
    return np.asarray(wide) > 0


def test_every_build_writes_the_same_files(tmp_path: Path, models_dir: Path) -> None:
    assert files(tiny_folder(tmp_path)) == files(tiny_folder(models_dir))


def test_two_processes_may_build_at_once(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from models.tiny import tiny_folder; print(tiny_folder(Path({str(tmp_path)!r})))"
    racers = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    printed = {racer.communicate(timeout=120)[0].strip() for racer in racers}
    assert [racer.returncode for racer in racers] == [0, 0]
    assert printed == {str(folder) for folder in tmp_path.iterdir()}


def test_two_poses_differ_where_their_figures_stand(
    tiny_engine: InflightEngine, ask: Any, pose: Any, drain: Any
) -> None:
    size = TINY.default_size
    maps = [pose(size, bend) for bend in (-0.8, 0.9)]
    defaults = {"width": size[0], "height": size[1], "steps": TINY.default_steps}
    first, second = draw(
        tiny_engine, drain, *(ask(f"k{index}", control=control, **defaults) for index, control in enumerate(maps))
    )
    change = np.abs(first - second).max(axis=2)
    figures = [figure(control) for control in maps]
    moved = figures[0] ^ figures[1]
    neither = ~(figures[0] | figures[1])
    assert change[moved].mean() > 0.2
    assert change[moved].mean() > 4 * change[neither].mean()


def test_a_figure_stands_out_from_its_background(tiny_engine: InflightEngine, ask: Any, pose: Any, drain: Any) -> None:
    size = TINY.default_size
    control = pose(size, 0.4)
    defaults = {"width": size[0], "height": size[1], "steps": TINY.default_steps}
    posed, empty = draw(tiny_engine, drain, ask("posed", control=control, **defaults), ask("empty", **defaults))
    change = np.abs(posed - empty).max(axis=2)
    there = figure(control)
    assert change[there].mean() > 3 * change[~there].mean()


@pytest.mark.parametrize(("word", "channel"), [("red", 0), ("Green", 1), ("blue", 2)])
def test_the_name_of_a_colour_colours_the_picture(
    tiny_engine: InflightEngine, ask: Any, drain: Any, word: str, channel: int
) -> None:
    (pixels,) = draw(tiny_engine, drain, ask("a", prompt=f"a person before a {word} wall, photo", steps=8))
    assert int(pixels.mean(axis=(0, 1)).argmax()) == channel


def test_pictures_are_neither_flat_nor_alike(tiny_engine: InflightEngine, ask: Any, drain: Any) -> None:
    prompts = ("studio portrait", "yoga outdoor at the beach", "fashion photo of a dancer")
    drawn = draw(tiny_engine, drain, *(ask(prompt, prompt=prompt, steps=8) for prompt in prompts))
    assert all(picture.std() > 0.05 for picture in drawn)
    means = [picture.mean(axis=(0, 1)) for picture in drawn]
    assert all(np.abs(means[i] - means[j]).max() > 0.02 for i in range(3) for j in range(i))


def test_guidance_changes_the_picture(tiny_engine: InflightEngine, ask: Any, drain: Any) -> None:
    low, high = draw(tiny_engine, drain, ask("low", guidance=1.0), ask("high", guidance=8.0))
    assert np.abs(low - high).max() > 0.01


def test_any_printable_text_can_be_spelled() -> None:
    text = "Zoë? 'naïve' ~[42]% ÆØÅ"
    clip, t5 = build_clip_tokenizer(), build_t5_tokenizer()
    assert clip.unk_token_id not in clip(text).input_ids[1:-1]
    assert t5.unk_token_id not in t5("Quick! (brown) fox: 'jumps' @ 3/4 & more_").input_ids


def test_names_of_colours_are_words_of_their_own() -> None:
    tokenizer = build_t5_tokenizer()
    assert all(len(tokenizer.tokenize(word)) == 1 for word in COLOURS)
