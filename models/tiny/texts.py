"""The tiny profile's words: real CLIP and T5 tokenizers and encoders over a vocabulary written here.

Both tokenizers can spell anything out of letters, so no prompt is refused; the words that prompts of this service are
made of are tokens of their own. The names of colours carry their colour in four channels of the T5 embedding, which
the transformer's weights then follow (see denoiser); every other word has a faint colour of its own.
"""

import string
from collections.abc import Sequence

import torch
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.models.t5.configuration_t5 import T5Config
from transformers.models.t5.modeling_t5 import T5EncoderModel
from transformers.models.t5.tokenization_t5 import T5Tokenizer

CLIP_WIDTH = 64
T5_WIDTH = 64
COLOUR_FLAG = 3
"""T5 channels 0..2 hold a word's red, green and blue, channel 3 says how much it is a colour."""

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (1, -0.8, -0.8),
    "orange": (1, 0.1, -0.9),
    "yellow": (0.9, 0.8, -0.8),
    "green": (-0.8, 0.6, -0.7),
    "teal": (-0.8, 0.3, 0.4),
    "cyan": (-0.6, 0.8, 0.9),
    "blue": (-0.8, -0.5, 1),
    "navy": (-1, -0.9, 0.1),
    "purple": (0.3, -0.8, 0.7),
    "violet": (0.4, -0.5, 0.9),
    "pink": (1, 0, 0.4),
    "brown": (0.1, -0.4, -0.8),
    "beige": (0.7, 0.5, 0.2),
    "gold": (0.8, 0.5, -0.7),
    "white": (1, 1, 1),
    "silver": (0.4, 0.4, 0.5),
    "grey": (-0.1, -0.1, -0.1),
    "gray": (-0.1, -0.1, -0.1),
    "black": (-1, -1, -1),
}

_WORD_TEXT = """
a an the of in on at with and or for to from by her his their is are style person woman man girl boy people model
young adult middle aged elderly teenager child female male unisex asian african european american latin indian
japanese korean chinese indonesian mixed east south eastern photo photography professional studio portrait fashion
commercial casual formal sport realistic cinematic anime cartoon illustration painting render sharp focus detailed
detail soft light lighting bright dark natural warm cold background plain simple outdoor indoor beach street city
park forest room office gym stage sky wall floor window garden mountain sea sun sunset night day dress shirt
trousers pants skirt jacket coat suit jeans shoes boots hat scarf bag glasses hair long short curly straight blond
ponytail bun eyes skin smile smiling face hand hands arm arms leg legs hip hips head shoulder knee elbow body
standing sitting walking running jumping dancing leaning kneeling lying yoga stretching pose posing looking turning
waving raised crossed folded open closed wide high low left right up down forward back side front full length half
close over under one two both foot feet relaxed confident elegant dynamic playful strong calm happy serious quality
best resolution product catalog editorial wearing holding tree warrior power walk victory
"""
WORDS = tuple(_WORD_TEXT.split())

_PUNCTUATION = string.punctuation
_CHARACTERS = string.ascii_letters + string.digits + _PUNCTUATION


def build_clip_tokenizer(words: Sequence[str] = (*WORDS, *COLOURS)) -> CLIPTokenizer:
    """Build a byte-level BPE whose merges spell the words from left to right."""
    bytes_shown = _byte_characters()
    tokens = ["<|startoftext|>", "<|endoftext|>", *bytes_shown, *(f"{character}</w>" for character in bytes_shown)]
    known = set(tokens)
    merges: list[tuple[str, str]] = []
    for word in dict.fromkeys(words):
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        left = pieces[0]
        for right in pieces[1:]:
            if left + right not in known:
                known.add(left + right)
                tokens.append(left + right)
                merges.append((left, right))
            left += right
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def _byte_characters() -> list[str]:
    """Return the 256 printable stand-ins for bytes that byte-level BPE uses, as GPT-2 defined them."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [*map(chr, shown), *(chr(256 + index) for index in range(len(hidden)))]


def build_t5_tokenizer(words: Sequence[str] = (*COLOURS, *map(str.capitalize, COLOURS), *WORDS)) -> T5Tokenizer:
    """Build a Unigram model that prefers whole words and falls back to characters."""
    pieces: dict[str, float] = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": -4.0}
    pieces.update((f"▁{word}", -3.0) for word in words)
    pieces.update((character, -12.0) for character in _CHARACTERS)
    return T5Tokenizer(vocab=list(pieces.items()), extra_ids=0, model_max_length=512)


def build_clip_encoder(vocabulary: int) -> CLIPTextModel:
    """Build CLIP's text encoder, small; its weights are random and its pooled vector tells prompts apart."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=CLIP_WIDTH,
            intermediate_size=2 * CLIP_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            projection_dim=CLIP_WIDTH,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
            initializer_factor=4.0,
        )
    )


@torch.no_grad()
def build_t5_encoder(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """Build T5's encoder, small, with the colours of words in the first four channels."""
    encoder = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=T5_WIDTH,
            d_kv=16,
            d_ff=2 * T5_WIDTH,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            initializer_factor=0.5,
            pad_token_id=0,
            eos_token_id=1,
        )
    )
    table = encoder.shared.weight
    table.normal_(0, 0.3)
    table[:, :COLOUR_FLAG] *= 0.5
    table[:, COLOUR_FLAG] = -1
    for word, rgb in COLOURS.items():
        for written in (word, word.capitalize()):
            row = tokenizer.convert_tokens_to_ids(f"▁{written}")
            table[row, :COLOUR_FLAG] = torch.tensor(rgb)
            table[row, COLOUR_FLAG] = 1
    # Layers may change what they like except the four channels.
    for block in encoder.encoder.block:
        block.layer[0].SelfAttention.o.weight[: COLOUR_FLAG + 1] = 0
        block.layer[1].DenseReluDense.wo.weight[: COLOUR_FLAG + 1] = 0
    return encoder
