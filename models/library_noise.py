"""Keeps diffusers and transformers from talking while they build or load: progress bars and two warnings.

Everything else they warn about is still heard.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import diffusers.utils.logging
import transformers.utils.logging


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence them inside the block. Not for several threads at once: Python's warning filters are global."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        # diffusers 0.42's own FluxControlNetModel still uses the name that it deprecates.
        warnings.filterwarnings("ignore", message="`FluxPosEmbed` is deprecated", category=FutureWarning)
        # Several adapters on one transformer are what is wanted.
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute", category=UserWarning)
        yield
