"""The built-in model: FLUX's real classes at a small size, built from code in seconds and kept on disk.

The folder has the layout that `from_pretrained` reads, as a download of FLUX.1-dev has, so loading it is loading the
real thing. Nothing is trained: the weights are written down (see denoiser and autoencoder) plus seeded noise.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch

from models.library_noise import quiet_libraries
from models.tiny.autoencoder import build_autoencoder
from models.tiny.denoiser import build_controlnet, build_transformer
from models.tiny.texts import build_clip_encoder, build_clip_tokenizer, build_t5_encoder, build_t5_tokenizer
from models.weights import BASE, CONTROLNET

VERSION = "1"
_SEED = 20_261_124


def tiny_folder(cache_dir: Path) -> Path:
    """Return the folder of the tiny weights, with `base/` and `controlnet/` in it; builds it if it is not there.

    Processes may race: each builds in a folder of its own and the first rename wins.
    """
    folder = cache_dir / f"tiny-{VERSION}"
    if not folder.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=cache_dir))
        try:
            with quiet_libraries():
                _build(draft)
            draft.chmod(0o755)
            _put_in_place(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _put_in_place(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _build(folder: Path) -> None:
    generator = torch.Generator("cpu").manual_seed(_SEED)
    base = folder / BASE
    # transformers initialises from the global generator; leave the caller's as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        clip_words, t5_words = build_clip_tokenizer(), build_t5_tokenizer()
        clip_words.save_pretrained(base / "tokenizer")
        t5_words.save_pretrained(base / "tokenizer_2")
        build_clip_encoder(len(clip_words)).save_pretrained(base / "text_encoder")
        build_t5_encoder(t5_words).save_pretrained(base / "text_encoder_2")
        build_autoencoder(generator).save_pretrained(base / "vae")
        build_transformer(generator).save_pretrained(base / "transformer")
        build_controlnet(generator).save_pretrained(folder / CONTROLNET)
    scheduler = base / "scheduler"
    scheduler.mkdir()
    config = {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "num_train_timesteps": 1000,
        "shift": 3.0,
        "use_dynamic_shifting": True,
        "base_shift": 0.5,
        "max_shift": 1.15,
        "base_image_seq_len": 256,
        "max_image_seq_len": 4096,
    }
    (scheduler / "scheduler_config.json").write_text(json.dumps(config, indent=2))
