"""What goes where on a card, decided before anything is loaded: pure arithmetic, no torch, no card.

Lossless first. In this order a plan is looked for: everything on the card; the text encoders off it except while they
encode; the modulation as precomputed tables; and, when nothing else fits, the blocks of the ControlNet or of both
networks streamed through the card at every step, which is slow and still lossless. Weights of fewer bits change
pictures, so they are only used where they were asked for, never because a card is small.

The arithmetic knows what the networks need (`models.footprints`) and adds what a CUDA process takes beside them
(`RESERVED_BYTES`, `SLACK`): these two are allowances, not measurements.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from models.errors import CardTooSmall
from models.footprints import WIDE_BYTES, Footprint, NetworkSize

if TYPE_CHECKING:
    from models.profiles import Profile

Size = tuple[int, int]

GIB = 2**30
SMALLEST_SHARE = 0.92
"""What the smallest card sold as N GB shows, in GiB of N: with error correction on, a 24 GB L4 shows about 22.1 GiB."""
RESERVED_BYTES = 3 * GIB // 4
"""For the CUDA context, the libraries' kernels and handles, and whatever else is no tensor of ours."""
SLACK = 1.1
"""Tensors of a forward pass take this much more than their sizes: rounding and fragments of torch's allocator."""
STREAMED_BLOCKS = 3
"""Blocks on the card at once when they stream: one in use, one on its way, one whose memory is being given back."""
PROMPTS_TOGETHER = 4
DECODED_TOGETHER = 4
ENCODED_TOGETHER = 8
"""Pictures that must fit the autoencoder at once for it to take them together; the largest batch that is measured."""
KEPT_PROMPTS, KEPT_PROMPTS_WHERE_TIGHT = 64, 16
KEPT_TABLES = 2
"""Encoded prompts and modulation tables that are kept on the card for pictures to come."""


class WeightPrecision(StrEnum):
    """What the weights of the blocks' linear layers are kept in; everything else stays in bf16."""

    BF16 = "bf16"  # as they were published: lossless
    FP8 = "fp8"  # 8-bit floats, one scale a row; torchao
    INT8 = "int8"  # 8-bit integers, one scale a row; torchao
    NF4 = "nf4"  # 4-bit normal floats in blocks of 64; bitsandbytes


class TextPlace(StrEnum):
    """Where the text encoders live. None of these changes a picture."""

    RESIDENT = "resident"  # on the card
    MOVED = "moved"  # in host memory, whole on the card while they encode
    STREAMED = "streamed"  # in host memory, block by block on the card while they encode


class Modulation(StrEnum):
    """How a block learns of time, guidance and the pooled prompt. Neither changes a picture."""

    LIVE = "live"  # its own layer works it out at every step
    TABLES = "tables"  # worked out once per prompt and schedule; the layers stay in host memory


class Offload(StrEnum):
    """Which networks' blocks come from host memory at every step. None of these changes a picture."""

    NONE = "none"  # every block stays where it is used
    CONTROLNET = "controlnet"  # the ControlNet's
    BOTH = "both"  # the ControlNet's and the transformer's


class Decoding(StrEnum):
    """How the autoencoder takes several pictures: the same ones either way.

    Tiles, which blend their seams, are not among these: one picture takes less than encoding a prompt does.
    """

    GROUPED = "grouped"  # together
    SLICED = "sliced"  # one by one


WEIGHT_BYTES = {
    WeightPrecision.BF16: 2.0,
    WeightPrecision.FP8: 1 + 4 / 3072,  # a float32 scale for each row of 3072 or more
    WeightPrecision.INT8: 1 + 4 / 3072,
    WeightPrecision.NF4: 0.5 + 1 / 64 + 4 / (64 * 256),  # 8-bit scales of blocks of 64, with float32 scales by 256
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLine:
    """One entry of a sum."""

    what: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What goes where. Made by `plan_memory`.

    kept_prompts, kept_tables: how many are kept on the card for pictures to come. precise_retry: there is room to draw
    a picture that went bad once more in fp32. rows: how many pictures of a size (width_px, height_px) may share a
    forward: memory's upper bound, no advice. lines: what was added up for one row of the default size, its worst
    moment last. host_bytes: weights that stay in host memory. reasons: why it is this plan.
    """

    profile: str
    card_bytes: int
    precision: WeightPrecision
    controlnet_precision: WeightPrecision
    text: TextPlace
    modulation: Modulation
    offload: Offload
    decoding: Decoding
    kept_prompts: int
    kept_tables: int
    precise_retry: bool
    rows: tuple[tuple[Size, int], ...]
    lines: tuple[MemoryLine, ...]
    host_bytes: int
    reasons: tuple[str, ...]

    @property
    def is_lossless(self) -> bool:
        """Whether pictures are those of the published weights."""
        return self.precision is WeightPrecision.BF16

    @property
    def used_bytes(self) -> int:
        """Everything in `lines`."""
        return sum(line.bytes for line in self.lines)

    def most_rows(self, size: Size) -> int:
        """Return memory's upper bound for a size of the profile."""
        return dict(self.rows)[size]


def nominal_bytes(card_gb: float) -> int:
    """Return what the smallest card sold as `card_gb` GB shows, in bytes."""
    return int(card_gb * SMALLEST_SHARE * GIB)


def plan_memory(
    profile: "Profile",
    card_bytes: int,
    *,
    precision: WeightPrecision | None = None,
    footprint: Footprint | None = None,
    host_bytes: int | None = None,
) -> Plan:
    """Choose the first way to place the networks that leaves room for one row of every size.

    card_bytes: all the memory the card shows. precision None: lossless. footprint: of other networks than the
    profile's own. host_bytes: the host's memory; None: enough. Raises CardTooSmall, which says what would fit.
    """
    networks = footprint or profile.footprint
    asked = precision or WeightPrecision.BF16
    sums = [_Sums(profile, networks, way) for way in _ways(asked)]
    for tried in sums:
        if tried.fits(card_bytes, host_bytes):
            return _plan(tried, card_bytes, sums[0])
    raise CardTooSmall(
        profile.name, card_bytes, asked.value, _what_would(profile, networks, card_bytes, host_bytes, sums)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A way to place a profile's networks, which may or may not fit."""

    precision: WeightPrecision
    controlnet_precision: WeightPrecision
    text: TextPlace
    modulation: Modulation
    offload: Offload = Offload.NONE


def _ways(precision: WeightPrecision) -> Iterator[_Way]:
    """Go through all ways, the best first."""
    ways = [
        _Way(precision=precision, controlnet_precision=controlnet, text=text, modulation=modulation)
        for controlnet in dict.fromkeys((WeightPrecision.BF16, precision))
        for modulation in Modulation
        for text in TextPlace
    ]
    yield from ways
    if precision is WeightPrecision.BF16:
        yield replace(ways[-1], offload=Offload.CONTROLNET)
        yield replace(ways[-1], offload=Offload.BOTH)


class _Sums:
    """The bytes of one way to place one profile's networks."""

    def __init__(self, profile: "Profile", networks: Footprint, way: _Way) -> None:
        self.profile, self.networks, self.way = profile, networks, way

    def fits(self, card_bytes: int, host_bytes: int | None) -> bool:
        """Whether one row of every size fits the card, and what is kept off it fits the host."""
        if host_bytes is not None and self.host_bytes > host_bytes:
            return False
        return self.least_bytes <= card_bytes

    @property
    def least_bytes(self) -> int:
        """What a card must have for one row of every size."""
        return self.settled_bytes + max(self.moment(size).bytes for size in self.profile.sizes)

    @property
    def settled_bytes(self) -> int:
        """What is there all the time."""
        return sum(line.bytes for line in self.settled())

    def settled(self) -> tuple[MemoryLine, ...]:
        """List what is there all the time."""
        way, networks = self.way, self.networks
        lines = [
            MemoryLine(what="CUDA and its libraries", bytes=RESERVED_BYTES),
            MemoryLine(
                what="transformer",
                bytes=self._on_card(networks.transformer, way.precision, streams=way.offload is Offload.BOTH),
            ),
            MemoryLine(
                what="ControlNet",
                bytes=self._on_card(
                    networks.controlnet, way.controlnet_precision, streams=way.offload is not Offload.NONE
                ),
            ),
            MemoryLine(what="autoencoder", bytes=WIDE_BYTES * networks.vae.parameters),
        ]
        if way.text is TextPlace.RESIDENT:
            lines.append(MemoryLine(what="text encoders", bytes=self._text_weights()))
        prompts, tables = self.kept
        kept = prompts * networks.prompt_bytes(self.profile.text_tokens)
        kept += tables * networks.table_bytes(self.profile.default_steps)
        return *lines, MemoryLine(what="prompts and tables to come", bytes=kept)

    @property
    def kept(self) -> tuple[int, int]:
        """How many encoded prompts and tables are kept for pictures to come."""
        is_tight = self.way.modulation is Modulation.TABLES
        return (KEPT_PROMPTS_WHERE_TIGHT, KEPT_TABLES) if is_tight else (KEPT_PROMPTS, 0)

    def _on_card(self, network: NetworkSize, precision: WeightPrecision, *, streams: bool) -> int:
        modulation = network.modulation if self.way.modulation is Modulation.TABLES else 0
        if streams:
            streamed = STREAMED_BLOCKS * network.largest_block
            return WIDE_BYTES * (network.parameters - modulation - network.blocks + streamed)
        plain = network.parameters - modulation - network.block_weights
        return WIDE_BYTES * plain + round(WEIGHT_BYTES[precision] * network.block_weights)

    def _text_weights(self) -> int:
        return WIDE_BYTES * (self.networks.text_encoder.parameters + self.networks.text_encoder_2.parameters)

    def moment(self, size: Size) -> MemoryLine:
        """Return the moment that takes most, beside what is settled, when one picture of a size is drawn."""
        moments = (
            MemoryLine(what="encoding prompts", bytes=self._encoding_bytes()),
            MemoryLine(what="a forward of one row", bytes=self.row_bytes(size)),
            MemoryLine(what="encoding a pose map", bytes=_slack(self.networks.encode_bytes(size))),
            MemoryLine(what="decoding a picture", bytes=_slack(self.networks.decode_bytes(size))),
        )
        return max(moments, key=lambda line: line.bytes)

    def _encoding_bytes(self) -> int:
        inner = _slack(PROMPTS_TOGETHER * self.networks.text_bytes(self.profile.text_tokens))
        clip, t5 = self.networks.text_encoder, self.networks.text_encoder_2
        match self.way.text:  # those that come to the card come one after the other
            case TextPlace.RESIDENT:
                return inner
            case TextPlace.MOVED:
                return inner + WIDE_BYTES * max(clip.parameters, t5.parameters)
            case TextPlace.STREAMED:
                streamed = t5.parameters - t5.blocks + STREAMED_BLOCKS * t5.largest_block
                return inner + WIDE_BYTES * max(clip.parameters, streamed)

    def row_bytes(self, size: Size) -> int:
        """Return what a row adds to a forward, its table included."""
        tokens = self.profile.text_tokens
        forward = _slack(self.networks.forward_bytes(size, tokens)) + self.networks.prompt_bytes(tokens)
        if self.way.modulation is Modulation.LIVE:
            return forward
        return forward + self.networks.table_bytes(self.profile.highest_steps)

    def grouped_rows(self, size: Size, free_bytes: int) -> int:
        """Return how many rows fit when the autoencoder takes their pose maps together."""
        return min(
            free_bytes // self.row_bytes(size),
            free_bytes // _slack(self.networks.encode_bytes(size)),
        )

    def may_group(self, free_bytes: int) -> bool:
        """Whether there is room for the autoencoder to take several pictures at once, whatever their size."""
        return all(
            DECODED_TOGETHER * _slack(self.networks.decode_bytes(size)) <= free_bytes
            and self.grouped_rows(size, free_bytes) >= ENCODED_TOGETHER
            for size in self.profile.sizes
        )

    def may_widen(self, card_bytes: int) -> bool:
        """Whether everything, in fp32, fits: twice the bytes of all that is bf16."""
        way = self.way
        comes_and_goes = way.text is not TextPlace.RESIDENT or way.offload is not Offload.NONE
        if comes_and_goes or way.precision is not WeightPrecision.BF16:
            return False  # such weights are never widened
        wide = 2 * (self.least_bytes - RESERVED_BYTES) + RESERVED_BYTES
        return wide <= card_bytes

    @property
    def host_bytes(self) -> int:
        """What stays in host memory."""
        way, transformer, controlnet = self.way, self.networks.transformer, self.networks.controlnet
        kept = 0 if way.text is TextPlace.RESIDENT else self._text_weights()
        if way.modulation is Modulation.TABLES:
            kept += WIDE_BYTES * (transformer.modulation + controlnet.modulation)
        if way.offload is not Offload.NONE:
            kept += WIDE_BYTES * controlnet.blocks
        if way.offload is Offload.BOTH:
            kept += WIDE_BYTES * transformer.blocks
        return kept


def _slack(tensor_bytes: int) -> int:
    return round(SLACK * tensor_bytes)


def _plan(chosen: _Sums, card_bytes: int, best: _Sums) -> Plan:
    profile, way = chosen.profile, chosen.way
    free = card_bytes - chosen.settled_bytes
    grouped = chosen.may_group(free)
    kept_prompts, kept_tables = chosen.kept
    rows = {
        size: chosen.grouped_rows(size, free) if grouped else free // chosen.row_bytes(size) for size in profile.sizes
    }
    return Plan(
        profile=profile.name,
        card_bytes=card_bytes,
        precision=way.precision,
        controlnet_precision=way.controlnet_precision,
        text=way.text,
        modulation=way.modulation,
        offload=way.offload,
        decoding=Decoding.GROUPED if grouped else Decoding.SLICED,
        kept_prompts=kept_prompts,
        kept_tables=kept_tables,
        precise_retry=chosen.may_widen(card_bytes),
        rows=tuple(rows.items()),
        lines=(*chosen.settled(), chosen.moment(profile.default_size)),
        host_bytes=chosen.host_bytes,
        reasons=tuple(_reasons(chosen, card_bytes, best)),
    )


def _reasons(chosen: _Sums, card_bytes: int, best: _Sums) -> Iterator[str]:
    way, name = chosen.way, chosen.way.precision.value
    if way.precision is WeightPrecision.BF16:
        yield "weights in bf16, as published: lossless"
    else:
        yield f"{name} was asked for: smaller weights, and pictures that differ from the published model's"
    if way == best.way:
        yield f"everything fits: it takes {gib(chosen.least_bytes)} of {gib(card_bytes)}"
        return
    yield f"with everything on the card it would take {gib(best.least_bytes)} of {gib(card_bytes)}"
    if way.controlnet_precision is not best.way.controlnet_precision:
        yield f"the ControlNet is in {name} too, for room"
    if way.text is TextPlace.MOVED:
        yield "the text encoders wait in host memory and come to the card to encode: the same pictures"
    if way.text is TextPlace.STREAMED:
        yield "the text encoders wait in host memory and cross the card block by block to encode: the same pictures"
    if way.modulation is Modulation.TABLES:
        yield "the modulation is worked out once per prompt and its layers wait in host memory: the same pictures"
    if way.offload is Offload.CONTROLNET:
        yield "the ControlNet's blocks come from host memory at every step that follows it: the same pictures, slower"
    if way.offload is Offload.BOTH:
        yield "both networks' blocks come from host memory at every step: the same pictures, far slower"


def gib(amount: int) -> str:
    """Write bytes as people read them."""
    return f"{amount / GIB:.1f} GiB"


def _what_would(
    profile: "Profile", networks: Footprint, card_bytes: int, host_bytes: int | None, tried: list[_Sums]
) -> str:
    """Say in words what would fit where nothing did."""
    hints = []
    on_card = [sums.host_bytes for sums in tried if sums.fits(card_bytes, None)]
    if on_card:
        hints.append(f"a host with {gib(min(on_card))} of free memory")
    else:
        hints.append(f"a card with {gib(min(sums.least_bytes for sums in tried))}")
    for precision in WeightPrecision:
        if precision is not tried[0].way.precision and any(
            _Sums(profile, networks, way).fits(card_bytes, host_bytes) for way in _ways(precision)
        ):
            hints.append(f"--precision {precision.value}")
    return " or ".join(hints)
