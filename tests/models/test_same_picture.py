"""A picture is its request's alone: the same by itself, among others, joining late, and in diffusers' own pipeline.

Compared on decoded floats before any rounding to 8 bits, in fp32 on the CPU. The measured differences are printed
(`pytest -s`).
"""

import sys
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.flux.pipeline_flux_controlnet import FluxControlNetPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from models.inflight import InflightEngine
from models.library_noise import quiet_libraries
from models.requests import Finished, PictureRequest

LARGEST_DIFFERENCE = 1e-4


@pytest.fixture
def wanted(ask: Any, pose: Any) -> PictureRequest:
    """The picture that all tests draw: every number off its default, control left out after 60 % of the steps."""
    return ask(
        "wanted",
        prompt="a woman on a red stage, arms raised",
        control=pose((256, 256), 0.8),
        width=256,
        height=256,
        seed=123456789,
        steps=10,
        guidance=2.2,
        control_scale=0.75,
        control_end=0.6,
    )


@pytest.fixture
def neighbours(ask: Any, pose: Any) -> list[PictureRequest]:
    """Three that differ in everything a row may differ in: with, without and with longer control."""
    size = {"width": 256, "height": 256}
    return [
        ask(
            "n1", prompt="a blue room", control=pose((256, 256), -0.5), steps=14, guidance=5.0, control_end=1.0, **size
        ),
        ask("n2", prompt="a green forest at night", steps=4, guidance=1.0, seed=99, **size),
        ask("n3", control=pose((256, 256), 0.1), steps=7, control_scale=1.4, control_end=0.3, seed=5, **size),
    ]


@pytest.fixture
def alone(tiny_engine: InflightEngine, wanted: PictureRequest, drain: Any) -> np.ndarray:
    """The pixels of `wanted`, drawn with nobody else in the engine."""
    tiny_engine.submit(wanted)
    return pixels(drain(tiny_engine)[0]["wanted"])


def pixels(outcome: Any) -> np.ndarray:
    assert isinstance(outcome, Finished)
    return outcome.pixels


def difference(name: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    largest = float(np.abs(ours - theirs).max())
    sys.stdout.write(f"\nlargest difference, {name}: {largest:.2e}\n")
    return largest


def test_a_picture_in_a_batch_of_4_is_the_picture_alone(
    tiny_engine: InflightEngine, wanted: Any, neighbours: Any, alone: Any, drain: Any
) -> None:
    for request in (*neighbours[:2], wanted, *neighbours[2:]):
        tiny_engine.submit(request)
    outcomes, reports = drain(tiny_engine)
    assert max(len(report.rows) for report in reports) == 4
    assert difference("batch of 4", pixels(outcomes["wanted"]), alone) < LARGEST_DIFFERENCE


def test_a_picture_that_joins_late_is_the_picture_alone(
    tiny_engine: InflightEngine, wanted: Any, neighbours: Any, alone: Any, drain: Any
) -> None:
    for request in neighbours:
        tiny_engine.submit(request)
    for _ in range(4):
        tiny_engine.step()
    tiny_engine.submit(wanted)
    outcomes, reports = drain(tiny_engine)
    mixed = [{key: index for key, index, _ in report.rows} for report in reports]
    assert any(rows.get("wanted") == 0 and rows.get("n1", 0) >= 3 for rows in mixed)
    assert difference("joining late", pixels(outcomes["wanted"]), alone) < LARGEST_DIFFERENCE


def test_a_picture_is_that_of_the_stock_pipeline(tiny_engine: InflightEngine, wanted: Any, alone: Any) -> None:
    stock = stock_picture(tiny_engine, wanted)
    assert difference("stock pipeline", alone, stock) < LARGEST_DIFFERENCE


def test_a_picture_with_control_to_the_end_is_that_of_the_stock_pipeline(
    tiny_engine: InflightEngine, ask: Any, pose: Any, drain: Any
) -> None:
    request = ask("a", control=pose((128, 128), 0.3), steps=6, control_end=1.0)
    tiny_engine.submit(request)
    ours = pixels(drain(tiny_engine)[0]["a"])
    assert difference("stock, control to the end", ours, stock_picture(tiny_engine, request)) < LARGEST_DIFFERENCE


def test_the_neighbours_are_other_pictures(
    tiny_engine: InflightEngine, neighbours: Any, alone: Any, drain: Any
) -> None:
    """Guards the comparison itself: it can tell pictures apart."""
    for request in neighbours:
        tiny_engine.submit(request)
    outcomes, _ = drain(tiny_engine)
    assert all(np.abs(pixels(outcome) - alone).max() > 0.1 for outcome in outcomes.values())


def stock_picture(engine: InflightEngine, request: PictureRequest) -> np.ndarray:
    """Draw with diffusers' pipeline: same weights, same starting noise, its own tokenizing, schedule and loop."""
    parts = engine.runner.parts
    with quiet_libraries():
        pipeline = FluxControlNetPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, max_shift=1.15),
            vae=parts.vae,
            text_encoder=parts.text_encoder,
            tokenizer=parts.tokenizer,
            text_encoder_2=parts.text_encoder_2,
            tokenizer_2=parts.tokenizer_2,
            transformer=parts.transformer,
            controlnet=parts.controlnet,
        )
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(
        prompt=request.prompt,
        control_image=request.control,
        width=request.width,
        height=request.height,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance,
        controlnet_conditioning_scale=request.control_scale,
        control_guidance_end=request.control_end,
        latents=engine.runner.starting_noise(request.seed, request.width, request.height)[None],
        generator=torch.Generator("cpu").manual_seed(0),
        max_sequence_length=engine.profile.text_tokens,
        output_type="np",
    )
    picture: np.ndarray = drawn.images[0]
    return picture
