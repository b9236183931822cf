"""The numbers the mannequin model is made with, in one place; the same numbers and seed give the same data."""

from pathlib import Path

SIDE_PX = 128
LATENTS = 16
TEXT_TOKENS = 32
CLIP_TOKENS = 77
CLIP_END = 1
SHARD = 512
"""Pictures are made, kept and encoded by so many at a time."""
SHARDS = 20
AUTOENCODER_SHARDS = 16
"""The autoencoder learns from the first few only, so that a first run soon shows something."""
RULER_SHARDS = 40
SEED = 7
TRAIN_DIR = Path("var") / "train" / "mannequin"

AUTOENCODER_STEPS = 8000
AUTOENCODER_BATCH = 16
AUTOENCODER_RATE = 1.5e-3
DECODER_STEPS = 4000
DECODER_RATE = 1e-3
LATENT_NOISE = 0.1
WORDS_STEPS = 1000
WORDS_BATCH = 128
WORDS_RATE = 2e-3
FLOW_STEPS = 60000
FLOW_BATCH = 32
FLOW_RATE = 1.2e-3
GUIDANCE_STEPS = 6000
GUIDANCE_RATE = 8e-4
CAPTION_DROPOUT = 0.12
CONTROL_DROPOUT = 0.2
CONTROL_GAIN = 1.5
"""The exported ControlNet speaks so much louder than it was trained to: poses are followed a little better."""
FIGURE_WEIGHT, HEAD_WEIGHT, HAND_WEIGHT = 2.0, 2.0, 1.0
"""How much more errors of the flow weigh there than those of the background, which weigh 1."""
DETECTOR_STEPS = 40000
DETECTOR_BATCH = 24
DETECTOR_RATE = 1.5e-3
CHECKPOINT_EVERY_S = 120.0
REPORT_EVERY_S = 30.0
SHEET_EVERY_S = 600.0
