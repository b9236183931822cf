"""What may be chosen of how the networks compute, without torch. None of it changes a picture beyond rounding."""

from enum import StrEnum


class Compiling(StrEnum):
    """Whether the networks' blocks are compiled (models.compiling). Blocks that are streamed never are."""

    AUTO = "auto"  # on a card, unless its weights are nf4
    ON = "on"  # also those, and on a CPU
    OFF = "off"


class AttentionKind(StrEnum):
    """Which code works out the attention of both networks (models.attention)."""

    AUTO = "auto"  # the fastest of these that the device has
    NATIVE = "native"  # torch's own choice
    CUDNN = "cudnn"  # cuDNN's, in torch
    FLASH = "flash"  # the library flash-attn
    FLASH3 = "flash3"  # FlashAttention-3: the library flash_attn_interface, for Hopper cards
