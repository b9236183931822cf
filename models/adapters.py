"""LoRAs applied: diffusers' adapters beside the transformer's own layers, which stay as they are, to the last bit.

Nothing is fused, so to be without LoRAs again is exact: the layers then compute what they would without peft. A few
adapters stay loaded; a switch between loaded ones sets which count and how much.
"""

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_pipeline import FluxLoraLoaderMixin
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import LoraUnfit
from models.library_noise import quiet_libraries
from models.loras import Lora, find_loras, shelf
from models.placement import stream_newcomers

MOST_LOADED = 8
"""A LoRA of rank 16 takes about 40 MB in bf16 with FLUX.1-dev."""

_MODULATION = re.compile(r"(^|\.)(norm1|norm1_context|norm|norm_out)\.linear$|^time_text_embed\.")


class Adapters:
    """The LoRAs of one transformer. `check` may be called from any thread, the rest from the one that steps.

    precomputed: the transformer's modulation was taken out (models.modulation). LoRAs that change it are then refused:
    its tables are made of the layers as they were. sets_aside: while none are used, put the layers themselves back into
    the transformer, for code that was compiled for it as it was loaded.
    """

    def __init__(self, transformer: nn.Module, folder: Path, *, precomputed: bool, sets_aside: bool = False) -> None:
        self._network: Any = transformer
        self._sets_aside = sets_aside
        # What peft put in the place of layers, with whose they are and their name there, while it is not in use.
        self._aside: list[tuple[nn.Module, str, Any]] = []
        self._folder = folder
        self._precomputed = precomputed
        self._used: tuple[Lora, ...] = ()
        # By name, the one used last at the end: diffusers' name for it, and the state of the file it came from.
        self._loaded: OrderedDict[str, tuple[str, tuple[int, int]]] = OrderedDict()
        self._count = 0

    def check(self, loras: tuple[Lora, ...]) -> None:
        """Say whether these lie in the folder and look right. Raises LoraMissing, LoraUnfit."""
        find_loras(loras, shelf(self._folder) if loras else {})

    def are_used(self, loras: tuple[Lora, ...]) -> bool:
        """Tell whether the transformer is with exactly these already."""
        return loras == self._used

    def use(self, loras: tuple[Lora, ...], *, dtype: torch.dtype, device: torch.device) -> None:
        """Make the transformer draw with these, as `models.loras.applied` gives them. Call outside inference_mode.

        dtype and device: the transformer's. Raises LoraMissing, LoraUnfit and what torch raises for lack of memory: the
        transformer is then as it was, or without any.
        """
        if loras == self._used:
            return
        files = find_loras(loras, shelf(self._folder) if loras else {})
        self._bring_back()
        try:
            self._switch(loras, files, dtype=dtype, device=device)
        finally:
            if self._sets_aside and not self._used:
                self._set_aside()

    def close(self) -> None:
        """Forget what is set aside; the transformer is not used any more."""
        self._aside.clear()

    def _switch(
        self, loras: tuple[Lora, ...], files: dict[str, Path], *, dtype: torch.dtype, device: torch.device
    ) -> None:
        if self._loaded:
            self._network.disable_lora()
        self._used = ()
        for name, path in files.items():
            self._load(name, path, dtype=dtype, device=device)
        if loras:
            names = [self._loaded[lora.name][0] for lora in loras]
            self._network.set_adapters(names, [lora.strength for lora in loras])
            self._network.enable_lora()
        self._used = loras
        self._forget(set(files))

    def _set_aside(self) -> None:
        for name, module in list(self._network.named_modules()):
            if isinstance(module, BaseTunerLayer):
                parent, _, own = name.rpartition(".")
                layer: Any = module
                self._aside.append((self._network.get_submodule(parent), own, layer))
        for owner, own, layer in self._aside:
            setattr(owner, own, layer.base_layer)

    def _bring_back(self) -> None:
        while self._aside:
            owner, own, layer = self._aside.pop()
            setattr(owner, own, layer)

    def _load(self, name: str, path: Path, *, dtype: torch.dtype, device: torch.device) -> None:
        status = path.stat()
        state = (status.st_mtime_ns, status.st_size)
        if name in self._loaded:
            if self._loaded[name][1] == state:
                self._loaded.move_to_end(name)
                return
            self._unload(name)  # another file by the same name
        tensors, alphas = self._read(name, path)
        self._count += 1
        adapter = f"lora_{self._count}"  # peft takes no dots in a name
        here = {key: tensor.to(device=device, dtype=dtype) for key, tensor in tensors.items()}
        try:
            with quiet_libraries():
                FluxLoraLoaderMixin.load_lora_into_transformer(
                    here, network_alphas=alphas or None, transformer=self._network, adapter_name=adapter
                )
        except BaseException as e:
            if adapter in getattr(self._network, "peft_config", {}):
                self._network.delete_adapters(adapter)
            if isinstance(e, (AttributeError, ImportError, KeyError, TypeError, ValueError)):
                raise LoraUnfit(name, str(e).splitlines()[0]) from e
            raise
        self._network.requires_grad_(requires_grad=False)
        stream_newcomers(self._network)
        self._network.disable_lora()
        self._loaded[name] = (adapter, state)

    def _read(self, name: str, path: Path) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Read a file of any of the layouts that diffusers knows, into its own names."""
        try:
            converted, alphas = FluxLoraLoaderMixin.lora_state_dict(load_file(path), return_alphas=True)
        except (KeyError, ValueError, RuntimeError, SafetensorError, OSError) as e:
            raise LoraUnfit(name, f"its layout is not known ({str(e).splitlines()[0]})") from e
        tensors = {str(key): tensor for key, tensor in converted.items()}
        ranks: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            module, _, kind = key.removeprefix("transformer.").partition(".lora_")
            if not key.startswith("transformer.") or kind not in ("A.weight", "B.weight"):
                raise LoraUnfit(name, f"it also changes {key}, which is not done here")
            ranks.setdefault(module, {})[kind[0]] = tensor
        for module, pair in ranks.items():
            self._check_layer(name, module, pair)
        return tensors, dict(alphas or {})

    def _check_layer(self, name: str, module: str, pair: dict[str, Tensor]) -> None:
        if self._precomputed and _MODULATION.search(module):
            raise LoraUnfit(
                name, f"it changes the modulation ({module}), which this worker computes ahead to save memory"
            )
        try:
            layer: Any = self._network.get_submodule(module)
            wanted = (layer.in_features, layer.out_features)
        except AttributeError as e:
            raise LoraUnfit(name, f"it is for another model, one with a layer {module}") from e
        if set(pair) != {"A", "B"}:
            raise LoraUnfit(name, f"it has only half of {module}")
        found = (pair["A"].shape[1], pair["B"].shape[0])
        if found != wanted:
            raise LoraUnfit(name, f"it is for another model: {module} is {found[0]} to {found[1]}, here {wanted}")

    def _forget(self, needed: set[str]) -> None:
        """Unload what was used longest ago, beyond MOST_LOADED."""
        for name in [name for name in self._loaded if name not in needed][: max(0, len(self._loaded) - MOST_LOADED)]:
            self._unload(name)

    def _unload(self, name: str) -> None:
        adapter, _ = self._loaded.pop(name)
        self._network.delete_adapters(adapter)
