"""Train the built-in `mannequin` model from nothing, on pictures that are made here.

    python scripts/train_mannequin.py [--stage all] [--folder var/train/mannequin] [--seed 7] [--export FOLDER]

Stages, in this order: autoencoder, detector, pictures, latents, words, flow, guidance, decoder, export. Each continues
from what is there, so stop it with Ctrl-C or SIGTERM whenever you like and start it again: the same seed gives the same
data, and a stopped run ends with the same weights as one that was not. Where the checkpoints are gone, `--start-from`
begins with exported weights; flow, guidance, decoder and detector then go on, while a new autoencoder would need a new
flow. Progress goes to the terminal and to log.jsonl in the folder, a validation sheet to sheet-*.png every ten minutes,
the final report to report.json.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import mannequin_recipe as recipe
import torch
from mannequin_autoencoder import AutoencoderLoss, decode, encode, load_into, prepared, psnr, settle
from mannequin_detector import DetectorLoss, write_detector
from mannequin_flow import Encoded, FlowLoss, Words, encode_shard, is_orthogonal
from mannequin_networks import build_autoencoder, build_denoisers, compile_blocks, export, start_from
from mannequin_pictures import HELD_BACK, RULER, TRAIN, Shard, make_shard, open_shard, shard_folder
from mannequin_sheet import Examples, write_sheet
from mannequin_training import Run, Stop, train
from mannequin_words import Readouts, WordsLoss
from torch import nn

from models.library_noise import quiet_libraries
from models.mannequin.detector import Network

STAGES = ("autoencoder", "detector", "pictures", "latents", "words", "flow", "guidance", "decoder", "export")
_READERS = ("text_encoder", "text_encoder_2")
_READ_ON = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a run is asked for; sizes and steps default to the recipe's and are smaller in tests."""

    folder: Path = recipe.TRAIN_DIR
    seed: int = recipe.SEED
    side_px: int = recipe.SIDE_PX
    shard: int = recipe.SHARD
    shards: int = recipe.SHARDS
    autoencoder_shards: int = recipe.AUTOENCODER_SHARDS
    ruler_shards: int = recipe.RULER_SHARDS
    autoencoder_steps: int = recipe.AUTOENCODER_STEPS
    detector_steps: int = recipe.DETECTOR_STEPS
    words_steps: int = recipe.WORDS_STEPS
    flow_steps: int = recipe.FLOW_STEPS
    guidance_steps: int = recipe.GUIDANCE_STEPS
    decoder_steps: int = recipe.DECODER_STEPS
    autoencoder_batch: int = recipe.AUTOENCODER_BATCH
    flow_batch: int = recipe.FLOW_BATCH
    device: str = "cpu"
    processes: int = 1
    compiled: bool = False
    export: Path | None = None
    start_from: Path | None = None


def _make(wishes: Wishes, split: str, number: int) -> Path:
    return make_shard(wishes.folder, split, wishes.seed, number, size=wishes.shard, side_px=wishes.side_px)


class Trainer:
    """The stages of one training, each a method that is done when it returns True."""

    def __init__(self, wishes: Wishes, stop: Stop) -> None:
        self._wishes, self._stop = wishes, stop
        self._device = torch.device(wishes.device)

    def pictures(self) -> bool:
        """Make the training pictures."""
        return len(self._shards(TRAIN, self._wishes.shards)) == self._wishes.shards

    def _shards(self, split: str, shards: int) -> list[Shard]:
        """Open shards; makes those that are not there, in several processes if wished. Fewer when told to stop."""
        missing = [number for number in range(shards) if not self._folder(split, number).is_dir()]
        if self._wishes.processes > 1 and len(missing) > 1:
            with get_context("spawn").Pool(self._wishes.processes) as pool:
                pool.starmap(_make, [(self._wishes, split, number) for number in missing], chunksize=1)
        opened = []
        for number in range(shards):
            if self._stop.wished:
                break
            opened.append(self._shard(split, number))
        return opened

    def _folder(self, split: str, number: int) -> Path:
        return shard_folder(self._wishes.folder, split, number, self._wishes.side_px)

    def _shard(self, split: str, number: int) -> Shard:
        return open_shard(_make(self._wishes, split, number))

    def autoencoder(self) -> bool:
        """Train the autoencoder."""
        vae = self._fresh_autoencoder()
        run = Run(self._wishes.folder, "autoencoder", {"vae": vae}, decay=0.0)
        run.resume()
        shards = self._shards(TRAIN, self._wishes.autoencoder_shards)
        if not shards:
            return False
        loss = AutoencoderLoss(vae, shards, self._wishes.seed, batch=self._wishes.autoencoder_batch)
        done = train(
            run, self._wishes.autoencoder_steps, loss, peak_rate=recipe.AUTOENCODER_RATE, stop=self._stop
        )  # fmt: skip
        self._report(autoencoder_steps=run.step, autoencoder_cpu_s=round(run.cpu_s), psnr_db=self._psnr())
        return done

    def decoder(self) -> bool:
        """Train the decoder on, with the encoder as the flow knows it."""
        vae = self._trained_autoencoder()
        vae.encoder.requires_grad_(requires_grad=False)
        run = Run(self._wishes.folder, "decoder", {"vae": vae.train()}, decay=0.0)
        run.resume()
        shards = self._shards(TRAIN, self._wishes.shards)
        if not shards:
            return False
        loss = AutoencoderLoss(vae, shards, self._wishes.seed + 3, batch=self._wishes.autoencoder_batch)
        done = train(run, self._wishes.decoder_steps, loss, peak_rate=recipe.DECODER_RATE, stop=self._stop)
        self._report(decoder_steps=run.step, decoder_cpu_s=round(run.cpu_s), psnr_db=self._psnr())
        return done

    def _fresh_autoencoder(self) -> Any:
        torch.manual_seed(self._wishes.seed)
        return self._started(prepared(build_autoencoder()), "vae").to(self._device)

    def _started(self, network: Any, name: str) -> Any:
        if self._wishes.start_from is not None:
            start_from(self._wishes.start_from, network, name)
        return network

    def _trained_autoencoder(self) -> Any:
        vae = self._fresh_autoencoder().eval()
        trained = self._wishes.folder / "autoencoder.pt"
        if trained.is_file() or self._wishes.start_from is None:
            load_into(vae, trained, "vae")
            settle(vae, encode(vae, self._shard(TRAIN, 0).pictures[:128]))
        decoder = self._wishes.folder / "decoder.pt"
        if decoder.is_file():
            load_into(vae, decoder, "vae")
        return vae

    def _psnr(self) -> float:
        vae, pictures = self._trained_autoencoder(), self._held_back().pictures
        return round(psnr(decode(vae, encode(vae, pictures)), pictures), 2)

    def _held_back(self) -> Shard:
        wishes = self._wishes
        size = min(64, wishes.shard)
        return open_shard(
            make_shard(wishes.folder, HELD_BACK, wishes.seed, 0, size=size, side_px=wishes.side_px)
        )  # fmt: skip

    def detector(self) -> bool:
        """Train the key-point detector, on renders of its own and those that the flow learns from."""
        torch.manual_seed(self._wishes.seed + 1)
        detector = self._started(Network(), "detector").to(self._device)
        run = Run(self._wishes.folder, "detector", {"detector": detector})
        run.resume()
        shards = self._shards(RULER, self._wishes.ruler_shards) + self._shards(TRAIN, self._wishes.shards)
        if self._stop.wished:
            return False
        loss = DetectorLoss(detector, shards, self._wishes.seed)
        return train(run, self._wishes.detector_steps, loss, peak_rate=recipe.DETECTOR_RATE, stop=self._stop)

    def latents(self) -> bool:
        """Encode the training pictures with the autoencoder as it is now."""
        vae, words = self._trained_autoencoder(), Words()
        for number in range(self._wishes.shards):
            if self._stop.wished:
                return False
            encode_shard(vae, self._shard(TRAIN, number), words, self._autoencoder_name())
        return True

    def _autoencoder_name(self) -> str:
        trained = self._wishes.folder / "autoencoder.pt"
        if not trained.is_file() and self._wishes.start_from is not None:
            return f"{self._wishes.seed}-exported"
        state = torch.load(trained, map_location="cpu", weights_only=True)
        return f"{self._wishes.seed}-{state['step']}"

    def words(self) -> bool:
        """Teach the text encoders to read captions."""
        networks = {name: one for name, one in self._fresh_denoisers().items() if name in _READERS}
        networks["readouts"] = Readouts().to(self._device)
        run = Run(self._wishes.folder, "words", networks)
        run.resume()
        loss = WordsLoss(networks, Words(), self._wishes.seed)
        done = train(run, self._wishes.words_steps, loss, peak_rate=recipe.WORDS_RATE, stop=self._stop)
        for name, network in networks.items():
            network.load_state_dict(run.averaged()[name])
        read = {f"words_{name}": round(share, 4) for name, share in loss.read(_READ_ON).items()}
        self._report(words_steps=run.step, words_cpu_s=round(run.cpu_s), **read)
        return done

    def flow(self) -> bool:
        """Train transformer, ControlNet and text encoders."""
        networks = self._fresh_denoisers()
        if (taught := self._wishes.folder / "words.pt").is_file():
            for name in _READERS:
                load_into(networks[name], taught, name)
        return self._flow("flow", self._wishes.flow_steps, self._wishes.seed, networks, teacher=None)

    def guidance(self) -> bool:
        """Train the same on, to draw in one forward what they draw in two with classifier-free guidance."""
        teacher, networks = self._trained_denoisers("flow"), self._trained_denoisers("flow")
        for network in teacher.values():
            network.eval()
        return self._flow("guidance", self._wishes.guidance_steps, self._wishes.seed + 4, networks, teacher=teacher)

    def _flow(
        self,
        name: str,
        steps: int,
        seed: int,
        networks: dict[str, nn.Module],
        *,
        teacher: dict[str, nn.Module] | None,
    ) -> bool:
        vae, words = self._trained_autoencoder(), Words()
        run = Run(self._wishes.folder, name, networks, is_orthogonal=is_orthogonal)
        run.resume()
        if self._wishes.compiled:
            for some in filter(None, (networks, teacher)):
                compile_blocks(some["transformer"])
                compile_blocks(some["controlnet"])
        encoded = self._encoded(vae, words)
        loss = FlowLoss(networks, encoded, words, seed, batch=self._wishes.flow_batch, teacher=teacher)
        examples = Examples.of(self._held_back(), vae)
        done = train(
            run,
            steps,
            loss,
            peak_rate=recipe.FLOW_RATE if teacher is None else recipe.GUIDANCE_RATE,
            stop=self._stop,
            now_and_then=(recipe.SHEET_EVERY_S, lambda step: self._sheet(step, run, vae, words, examples)),
        )
        samples = run.step * self._wishes.flow_batch
        self._report(**{f"{name}_steps": run.step, f"{name}_samples": samples, f"{name}_cpu_s": round(run.cpu_s)})
        return done

    def _trained_denoisers(self, stage: str) -> dict[str, nn.Module]:
        networks = self._fresh_denoisers()
        if (flow := self._wishes.folder / f"{stage}.pt").is_file() or self._wishes.start_from is None:
            for name, network in networks.items():
                load_into(network, flow, name)
        return networks

    def _fresh_denoisers(self) -> dict[str, nn.Module]:
        torch.manual_seed(self._wishes.seed + 2)
        with quiet_libraries():
            fresh = build_denoisers()
        return {name: self._started(network, name).to(self._device) for name, network in fresh.items()}

    def _encoded(self, vae: Any, words: Words) -> list[Encoded]:
        name = self._autoencoder_name()
        return [encode_shard(vae, shard, words, name) for shard in self._shards(TRAIN, self._wishes.shards)]

    def _sheet(self, step: int, run: Run, vae: Any, words: Words, examples: Examples) -> None:
        averaged = self._fresh_denoisers()
        for name, network in averaged.items():
            network.load_state_dict(run.averaged()[name])
            network.eval()
        write_sheet(self._wishes.folder / f"sheet-{run.name}-{step:06d}.png", averaged, vae, words, examples)

    def export(self) -> bool:
        """Write the moving averages as the loader reads them, in fp16."""
        target = self._wishes.export or self._wishes.folder / "export"
        guided = (self._wishes.folder / "guidance.pt").is_file()
        networks = self._trained_denoisers("guidance" if guided else "flow")
        detector = self._started(Network(), "detector")
        if (found := self._wishes.folder / "detector.pt").is_file() or self._wishes.start_from is None:
            load_into(detector, found, "detector")
        write_detector(target / "detector", detector)
        with quiet_libraries():
            export(target, self._trained_autoencoder().cpu(), {name: one.cpu() for name, one in networks.items()})
        size = sum(path.stat().st_size for path in target.rglob("*.safetensors"))
        self._report(export_mb=round(size / 1e6, 2))
        print(f"{size / 1e6:.2f} MB of weights in {target}")
        return True

    def _report(self, **figures: float) -> None:
        path = self._wishes.folder / "report.json"
        known = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps({**known, **figures}, indent=2) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is asked for; returns 0 when it is done, 130 when it was stopped before."""
    asked = _parse(arguments)
    stop = Stop(asked.minutes)
    stop.listen()
    torch.set_num_threads(asked.threads)
    trainer = Trainer(
        Wishes(
            folder=asked.folder,
            seed=asked.seed,
            shards=asked.shards,
            autoencoder_steps=asked.autoencoder_steps,
            detector_steps=asked.detector_steps,
            words_steps=asked.words_steps,
            flow_steps=asked.flow_steps,
            autoencoder_batch=asked.autoencoder_batch,
            flow_batch=asked.flow_batch,
            device=asked.device,
            processes=asked.processes,
            compiled=asked.compile,
            guidance_steps=asked.guidance_steps,
            decoder_steps=asked.decoder_steps,
            export=asked.export,
            start_from=asked.start_from,
        ),
        stop,
    )
    for stage in STAGES if asked.stage == "all" else (asked.stage,):
        began = time.monotonic()
        if not getattr(trainer, stage)():
            print(f"stopped in {stage}; start again to go on")
            return 130
        print(f"{stage}: done in {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--stage", choices=("all", *STAGES), default="all")
    parser.add_argument("--folder", type=Path, default=recipe.TRAIN_DIR)
    parser.add_argument("--seed", type=int, default=recipe.SEED)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shards", type=int, default=recipe.SHARDS, help=f"of {recipe.SHARD} pictures")
    parser.add_argument("--autoencoder-steps", type=int, default=recipe.AUTOENCODER_STEPS)
    parser.add_argument("--detector-steps", type=int, default=recipe.DETECTOR_STEPS)
    parser.add_argument("--words-steps", type=int, default=recipe.WORDS_STEPS)
    parser.add_argument("--flow-steps", type=int, default=recipe.FLOW_STEPS)
    parser.add_argument("--guidance-steps", type=int, default=recipe.GUIDANCE_STEPS)
    parser.add_argument("--decoder-steps", type=int, default=recipe.DECODER_STEPS)
    parser.add_argument("--autoencoder-batch", type=int, default=recipe.AUTOENCODER_BATCH, help="crops a step")
    parser.add_argument("--flow-batch", type=int, default=recipe.FLOW_BATCH, help="pictures a step")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--processes", type=int, default=1, help="that make pictures")
    parser.add_argument("--compile", action="store_true", help="compile the flow's blocks; needs a C++ compiler")
    parser.add_argument("--minutes", type=float, help="stop by itself after so long, to be continued")
    parser.add_argument("--export", type=Path, help="where the weights go; `export` in the folder if not said")
    parser.add_argument("--start-from", type=Path, help="exported weights to begin with where there is no checkpoint")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
