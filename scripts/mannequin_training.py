"""One training loop for every network of the mannequin: resumable after any stop, averaged, told about.

What a step does depends only on the seed and the step's number, so a run that was stopped and continued ends with the
same weights as one that was not. A checkpoint appears with one rename.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from mannequin_recipe import CHECKPOINT_EVERY_S, REPORT_EVERY_S
from torch import Tensor, nn

_EMA = 0.9995
_FOLLOW_EVERY = 4
"""Steps between two looks of the averages at the weights: a look costs as much as a twentieth of a step."""


class Run:
    """Networks in training: their optimiser, their moving averages, and how many steps were made."""

    def __init__(
        self,
        folder: Path,
        name: str,
        networks: Mapping[str, nn.Module],
        *,
        decay: float = 0.01,
        is_orthogonal: Callable[[str], bool] = lambda _name: False,
    ) -> None:
        """is_orthogonal: which matrices, by name, are trained by Muon (orthogonal steps); the others by AdamW."""
        self.folder, self.name, self.networks = folder, name, dict(networks)
        self.step, self.cpu_s = 0, 0.0
        named = [
            one for network in self.networks.values() for one in network.named_parameters() if one[1].requires_grad
        ]
        self._parameters = [p for _name, p in named]
        turned = [p for name, p in named if p.dim() == 2 and is_orthogonal(name)]
        known = {id(p) for p in turned}
        matrices = [p for p in self._parameters if p.dim() > 1 and id(p) not in known]
        vectors = [p for p in self._parameters if p.dim() <= 1]
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}],
                lr=1e-3,
                betas=(0.9, 0.98),
                fused=True,
            )
        ]
        if turned:
            # Its steps are as long as AdamW's, so one learning rate serves both.
            self.optimisers.append(
                torch.optim.Muon(turned, lr=1e-3, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
            )
        self.average = {
            name: {key: value.detach().clone() for key, value in network.state_dict().items()}
            for name, network in self.networks.items()
        }

    @property
    def checkpoint(self) -> Path:
        """Where the last checkpoint lies."""
        return self.folder / f"{self.name}.pt"

    def resume(self) -> bool:
        """Continue from the last checkpoint, if there is one."""
        if not self.checkpoint.is_file():
            return False
        state: dict[str, Any] = torch.load(self.checkpoint, map_location=self._parameters[0].device, weights_only=True)
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        self.average = state["average"]
        self.step, self.cpu_s = state["step"], state["cpu_s"]
        return True

    def save(self) -> None:
        """Write a checkpoint; the one before it stays whole until this one is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.checkpoint.with_suffix(".draft")
        state = {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "average": self.average,
            "step": self.step,
            "cpu_s": self.cpu_s,
        }
        torch.save(state, draft)
        os.replace(draft, self.checkpoint)

    def advance(self, loss: Tensor, rate: float) -> float:
        """Make one step down a loss; returns the loss. Raises FloatingPointError for a loss that is no number."""
        if not torch.isfinite(loss):
            raise FloatingPointError(f"The loss of step {self.step} of {self.name} is {loss.item()}.")
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
        self.step += 1
        if self.step % _FOLLOW_EVERY == 0:
            self._follow(min(_EMA, (1 + self.step) / (20 + self.step)) ** _FOLLOW_EVERY)
        return float(loss.detach())

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        for name, network in self.networks.items():
            average = self.average[name]
            kept, now = [], []
            for key, value in network.state_dict().items():
                if value.is_floating_point():
                    kept.append(average[key])
                    now.append(value)
            torch._foreach_lerp_(kept, now, 1 - decay)

    def averaged(self) -> dict[str, dict[str, Tensor]]:
        """Return the moving averages of all networks' weights."""
        return self.average


class Stop:
    """Turns SIGTERM, Ctrl-C and the end of the time one has into a wish to stop after the step that is being made."""

    def __init__(self, minutes: float | None = None) -> None:
        self._heard_one = False
        self._ends = None if minutes is None else time.monotonic() + 60 * minutes

    @property
    def wished(self) -> bool:
        """Whether to stop."""
        return self._heard_one or (self._ends is not None and time.monotonic() >= self._ends)

    def listen(self) -> None:
        """Take the signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._heard)

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self._heard_one = True


def rate_at(step: int, steps: int, peak: float, *, warm: int = 200, decay_from: float = 0.6) -> float:
    """Return the learning rate: a short rise, a plateau, and a straight fall to a twentieth at the end."""
    if step < warm:
        return peak * (step + 1) / warm
    share = step / max(1, steps)
    return peak if share < decay_from else peak * max(0.05, 1 - (share - decay_from) / (1 - decay_from))


def train(
    run: Run,
    steps: int,
    loss_of: Callable[[int], Tensor],
    *,
    peak_rate: float,
    stop: Stop,
    now_and_then: tuple[float, Callable[[int], None]] | None = None,
) -> bool:
    """Train up to `steps` in all; returns whether it got there. now_and_then: seconds, and what is then called."""
    reported = saved = shown = time.monotonic()
    cpu, losses = time.process_time(), []
    while run.step < steps and not stop.wished:
        losses.append(run.advance(loss_of(run.step), rate_at(run.step, steps, peak_rate)))
        now = time.monotonic()
        if now - reported >= REPORT_EVERY_S:
            used = time.process_time() - cpu
            run.cpu_s += used
            cpu += used
            _report(run, steps, losses, now - reported)
            reported, losses = now, []
        if now - saved >= CHECKPOINT_EVERY_S:
            run.save()
            saved = now
        if now_and_then is not None and now - shown >= now_and_then[0]:
            now_and_then[1](run.step)
            shown = time.monotonic()
    run.cpu_s += time.process_time() - cpu
    run.save()
    if now_and_then is not None:
        now_and_then[1](run.step)
    return run.step >= steps


def _report(run: Run, steps: int, losses: list[float], wall_s: float) -> None:
    line = {
        "stage": run.name,
        "step": run.step,
        "loss": round(sum(losses) / len(losses), 5),
        "steps_per_s": round(len(losses) / wall_s, 2),
        "cpu_s": round(run.cpu_s),
    }
    done = int(24 * run.step / steps)
    print(
        f"{run.name} [{'#' * done}{'.' * (24 - done)}] {run.step}/{steps}  loss {line['loss']:.5f}  "
        f"{line['steps_per_s']} steps/s  cpu {line['cpu_s']} s",
        flush=True,
    )
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")


def generator_of(seed: int, step: int) -> torch.Generator:
    """Return the randomness of one step."""
    return torch.Generator("cpu").manual_seed(seed * 1_000_003 + step)
