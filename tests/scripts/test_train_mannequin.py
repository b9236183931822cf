"""The training of the built-in model: it can be stopped anywhere, and what it exports is what the engine loads."""

import json
from dataclasses import replace

import numpy as np
import pytest
import score_mannequin
import torch
from mannequin_autoencoder import reconstruction_loss
from mannequin_cases import library_figures, score_cases
from mannequin_detector import DetectorLoss, hardness, heat_maps, moved, pck
from mannequin_flow import FlowLoss, Words, draw, to_the_longest
from mannequin_profile import open_mannequin
from mannequin_recipe import CONTROL_GAIN
from mannequin_sheet import sigmas
from mannequin_training import Run, Stop, rate_at, train
from safetensors.torch import load_file
from score_mannequin import draw_cases
from torch import nn
from train_mannequin import STAGES, Trainer, Wishes

from models.mannequin.detector import Network, peaks

pytestmark = pytest.mark.xdist_group("training")  # one training for all, so one process


class _StopAfter(Stop):
    """Wishes to stop once it was asked so often."""

    def __init__(self, times):
        super().__init__()
        self.left = times

    @property
    def wished(self):
        self.left -= 1
        return self.left < 0


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small networks on shared cores: a second thread would mostly wait for the first."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def wishes(tmp_path_factory):
    """A training so small that all of it takes seconds."""
    return Wishes(
        folder=tmp_path_factory.mktemp("mannequin"),
        side_px=64,
        shard=8,
        shards=2,
        autoencoder_shards=1,
        ruler_shards=1,
        autoencoder_steps=6,
        detector_steps=2,
        words_steps=2,
        flow_steps=5,
        guidance_steps=4,
        decoder_steps=5,
        autoencoder_batch=2,
        flow_batch=2,
    )


@pytest.fixture(scope="module")
def trained(wishes):
    """The same, trained: every stage once."""
    trainer = Trainer(wishes, Stop())
    for stage in STAGES:
        assert getattr(trainer, stage)()
    return wishes


def test_a_training_that_was_stopped_and_continued_ends_where_one_that_was_not_does(trained, tmp_path):
    # Three steps, a stop, and a new process' worth of objects for the other three.
    for path in trained.folder.glob("*-64"):
        (tmp_path / path.name).symlink_to(path)
    again = replace(trained, folder=tmp_path)
    # It is asked once for every shard that is opened, and once before every step.
    assert not Trainer(again, _StopAfter(again.autoencoder_shards + 3)).autoencoder()
    assert torch.load(tmp_path / "autoencoder.pt", weights_only=True)["step"] == 3
    assert Trainer(again, Stop()).autoencoder()
    ours, theirs = (torch.load(folder / "autoencoder.pt", weights_only=True) for folder in (tmp_path, trained.folder))
    assert ours["step"] == theirs["step"] == 6
    for part in ("networks", "average"):
        for name, tensor in theirs[part]["vae"].items():
            assert torch.equal(ours[part]["vae"][name], tensor), (part, name)


def test_what_a_flow_step_does_depends_on_its_number_only(trained):
    trainer = Trainer(trained, Stop())
    vae, words = trainer._trained_autoencoder(), Words()
    networks, shards = trainer._fresh_denoisers(), trainer._encoded(vae, words)
    losses = [FlowLoss(networks, shards, words, seed, batch=2)(step) for seed, step in ((7, 5), (7, 5), (7, 6), (8, 5))]
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])
    assert not torch.equal(losses[0], losses[3])


def test_the_detectors_first_guess_learns_too(trained):
    detector = Network()
    DetectorLoss(detector, Trainer(trained, Stop())._shards("ruler", 1), 7)(3).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
    first, heat = detector.guesses(torch.zeros(1, 3, 64, 64))
    assert (first.shape, heat.shape) == ((1, 18, 8, 8), (1, 18, 16, 16))
    assert torch.equal(detector(torch.zeros(1, 3, 64, 64)), heat)


def test_pictures_whose_joints_are_not_found_weigh_more_up_to_a_bound():
    weighed = hardness(torch.tensor([0.1, 0.1, 0.1, 0.5, 9.2], requires_grad=True))
    assert not weighed.requires_grad
    assert weighed.mean() == pytest.approx(1.0)
    assert (weighed[0], weighed[3] / weighed[0], weighed[4] / weighed[0]) == (
        weighed[1],
        pytest.approx(5.0),
        pytest.approx(80.0),  # not 92
    )


def _opened(networks):
    """Denoisers as if trained: fresh ones are closed by zeros."""
    with torch.no_grad():
        for name, parameter in (
            *networks["transformer"].named_parameters(),
            *networks["controlnet"].named_parameters(),
        ):
            if "proj_out" in name or "controlnet_" in name:
                parameter.normal_(0, 0.05)
    return networks


def test_guidance_is_distilled_from_what_words_and_control_change_in_the_teacher(trained):
    trainer, words = Trainer(trained, Stop()), Words()
    shards = trainer._encoded(trainer._trained_autoencoder(), words)
    networks, teacher = (_opened(trainer._fresh_denoisers()) for _ in (0, 1))
    guided, plain = (FlowLoss(networks, shards, words, 7, batch=4, teacher=one) for one in (teacher, None))
    rows = guided._rows(torch.Generator().manual_seed(1))
    nobody = tuple(one.expand(4, -1) for one in (guided._no_clip, guided._no_t5))
    for follows, ids, moves in (
        (torch.zeros(4), nobody, False),
        (torch.zeros(4), (rows.clip_ids, rows.t5_ids), True),
        (torch.ones(4), nobody, True),
    ):
        further = guided._further(teacher, rows.image, torch.full((4,), 0.5), rows.control, follows, ids)
        assert bool(further.abs().max() > 1e-4) is moves
    assert not torch.equal(guided(5), plain(5))
    guided(5).backward()
    assert all(parameter.grad is None for network in teacher.values() for parameter in network.parameters())


def test_what_guidance_was_distilled_into_is_exported_and_its_teacher_is_the_flow(trained):
    flow, guided = (torch.load(trained.folder / f"{name}.pt", weights_only=True) for name in ("flow", "guidance"))
    assert guided["step"] == trained.guidance_steps
    name = "proj_out.weight"
    assert not torch.equal(flow["average"]["transformer"][name], guided["average"]["transformer"][name])
    (exported,) = (trained.folder / "export" / "base" / "transformer").glob("*.safetensors")
    assert torch.equal(load_file(exported)[name], guided["average"]["transformer"][name].half())


def test_the_decoder_is_trained_on_while_latents_keep_their_meaning(trained):
    vae, after = (torch.load(trained.folder / f"{name}.pt", weights_only=True) for name in ("autoencoder", "decoder"))
    changed = {
        name for name, tensor in vae["average"]["vae"].items() if not torch.equal(tensor, after["average"]["vae"][name])
    }
    assert changed
    assert all(name.startswith("decoder.") for name in changed)


def test_a_training_without_checkpoints_goes_on_from_what_was_exported(trained, tmp_path):
    for path in trained.folder.glob("*-64"):
        (tmp_path / path.name).symlink_to(path)
    shipped = trained.folder / "export"
    trainer = Trainer(replace(trained, folder=tmp_path, start_from=shipped), Stop())
    # Exported as it came, before anything was trained.
    assert trainer.export()
    for path in shipped.rglob("*.safetensors"):
        ours, theirs = load_file(tmp_path / "export" / path.relative_to(shipped)), load_file(path)
        assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items()), path
    assert trainer.latents()
    assert trainer.flow()
    assert trainer.export()
    flow = load_file(next((tmp_path / "export").rglob("transformer/*.safetensors")))
    assert any(
        not torch.equal(flow[name], tensor)
        for name, tensor in load_file(next(shipped.rglob("transformer/*.safetensors"))).items()
    )


def test_the_flow_begins_with_text_encoders_that_can_read(trained, tmp_path):
    for path in (*trained.folder.glob("*-64"), trained.folder / "autoencoder.pt", trained.folder / "words.pt"):
        (tmp_path / path.name).symlink_to(path)
    assert Trainer(replace(trained, folder=tmp_path, flow_steps=0), Stop()).flow()
    began, taught = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("flow", "words"))
    for name in ("text_encoder", "text_encoder_2"):
        for key, tensor in taught["average"][name].items():
            assert torch.equal(began["networks"][name][key], tensor), key


def test_the_exported_controlnet_speaks_louder_than_it_was_trained_to(trained):
    average = torch.load(trained.folder / "guidance.pt", weights_only=True)["average"]["controlnet"]
    exported = load_file(next((trained.folder / "export" / "controlnet").glob("*.safetensors")))
    assert any(tensor.any() for name, tensor in average.items() if name.startswith("controlnet_blocks"))
    for name, tensor in exported.items():
        gain = CONTROL_GAIN if name.startswith(("controlnet_blocks", "controlnet_single_blocks")) else 1
        assert torch.allclose(tensor.float(), gain * average[name], rtol=2e-3, atol=1e-6), name


def test_clip_is_told_only_as_much_as_the_longest_caption_has(trained):
    clip = Trainer(trained, Stop())._fresh_denoisers()["text_encoder"].eval()
    ids, _ = Words()(["a red shirt", "a man in blue jeans, plain grey background", ""])
    cut = to_the_longest(ids)
    assert cut.shape[1] < ids.shape[1]
    with torch.no_grad():
        assert torch.allclose(clip(cut).pooler_output, clip(ids).pooler_output, atol=1e-6)


def test_a_stop_before_the_first_checkpoint_loses_nothing_but_its_steps(tmp_path):
    run = Run(tmp_path, "little", {"line": nn.Linear(2, 1)})
    weight = run.networks["line"].weight
    assert not train(run, 5, lambda _: weight.square().sum(), peak_rate=1e-3, stop=_StopAfter(2))
    again = Run(tmp_path, "little", {"line": nn.Linear(2, 1)})
    assert again.resume()
    assert again.step == 2
    assert torch.equal(again.networks["line"].weight, weight)
    assert [path.name for path in tmp_path.iterdir()] == ["little.pt"]


def test_a_loss_that_is_no_number_ends_the_training_before_it_spoils_the_weights(tmp_path):
    run = Run(tmp_path, "little", {"line": nn.Linear(2, 1)})
    weight = run.networks["line"].weight.detach().clone()
    with pytest.raises(FloatingPointError, match="step 0 of little is nan"):
        run.advance(run.networks["line"].weight.sum() * float("nan"), 1e-3)
    assert torch.equal(run.networks["line"].weight, weight)


def test_the_learning_rate_rises_stays_and_falls():
    rates = [rate_at(step, 1000, 1.0, warm=100) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[100] == rates[599] == 1.0
    assert rates[999] == pytest.approx(0.05, abs=0.01)
    assert sorted(rates[:101]) == rates[:101]
    assert sorted(rates[600:], reverse=True) == rates[600:]


def test_errors_on_the_figure_weigh_more():
    drawn, pixels, weights = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8)
    drawn[..., :4] = 0.1
    on_ground = reconstruction_loss(drawn, pixels, weights)
    weights[..., :4] = 3
    assert reconstruction_loss(drawn, pixels, weights) > 2 * on_ground


def test_joints_move_with_their_pictures_and_left_becomes_right_in_a_mirror():
    rng, side, right, left = np.random.default_rng(3), 64, 4, 7
    joints_px = rng.uniform(12, 52, (32, 18, 2)).astype(np.float32) * 4
    drawn = heat_maps(joints_px, np.ones((32, 18), bool), 4 * side)[:, [right, left, left]]
    pixels, placed, _ = moved(rng, drawn, joints_px / 4, np.ones((32, 18), bool))
    at = pixels.flatten(2).argmax(dim=2).numpy()
    found = np.stack([at % side, at // side], axis=2) + 0.5
    kept, swapped = (
        (np.linalg.norm(found[:, :2] - placed[:, order], axis=2) < 1.5).all(axis=1)
        for order in ([right, left], [left, right])
    )
    assert (kept ^ swapped).all()
    assert 8 < swapped.sum() < 24


def test_joints_that_leave_the_frame_are_not_seen():
    joints = np.full((64, 18, 2), 1.0, np.float32)
    _, placed, shown = moved(np.random.default_rng(1), torch.zeros(64, 3, 32, 32), joints, np.ones((64, 18), bool))
    assert 0 < shown.mean() < 1
    assert ((placed >= 0) & (placed < 32)).all(axis=2)[shown].all()


def test_peaks_are_found_between_the_cells():
    joints = np.array([[[21.0, 38.5]] * 18], np.float32)
    places, height = peaks(heat_maps(joints, np.ones((1, 18), bool), 64))
    assert np.allclose(places.numpy(), joints, atol=0.35)
    assert (height > 0.9).all()


def test_pck_counts_seen_joints_within_a_share_of_the_torso():
    wanted = np.zeros((2, 18, 2), np.float32)
    found = wanted.copy()
    found[0, :9, 0] = 3.1  # beyond a tenth of 30, within a fifth
    seen = np.ones((2, 18), bool)
    seen[1] = False
    torsos = np.array([30.0, 30.0], np.float32)
    assert pck(found, wanted, seen, torsos, within=0.1) == 0.5
    assert pck(found, wanted, seen, torsos, within=0.2) == 1.0


def test_the_end_of_the_time_one_has_is_a_wish_to_stop():
    assert Stop(minutes=0).wished
    assert not Stop(minutes=60).wished
    assert not Stop().wished


def test_what_is_exported_is_loaded_and_drawn_with_by_the_engine(trained):
    engine = open_mannequin(trained.folder / "export")
    width, height = engine.profile.default_size
    cases = score_cases(3, width, library=1)
    followed, _ = draw_cases(engine, cases, steps=2)
    again, _ = draw_cases(engine, cases, steps=2)
    free, _ = draw_cases(engine, cases, steps=2, controlled=False)
    assert followed.shape == (3, height, width, 3)
    assert np.array_equal(followed, again)
    assert not np.array_equal(followed, free)
    assert cases[-1].name in {slug for slug, _ in library_figures()}


def test_everything_that_is_exported_stays_within_what_a_package_may_carry_and_is_scored(trained, capsys):
    assert (
        score_mannequin.main(
            [str(trained.folder / "export"), "--json", "--cases", "4", "--steps", "1", "--threads", "1"]
        )
        == 0
    )
    scores = json.loads(capsys.readouterr().out)
    assert scores["weights_mb"] <= 18
    shares = ("pck_control", "pck_no_control", "pck_true_render", "pck_vae", "pck20_control", "coherent_no_control")
    assert all(0 <= scores[name] <= 1 for name in shares)
    assert all(scores[name] > 0 for name in ("seconds_for_4", "load_s", "rss_mb"))
    assert set(scores["colour_accuracy"]) == {"shirt", "trousers", "background"}


def test_training_draws_with_the_words_and_the_schedule_that_the_engine_uses(trained):
    engine = open_mannequin(trained.folder / "export")
    profile, words = engine.profile, Words()
    clip_ids, t5_ids = words(["a woman wearing a red t-shirt, blue background"])
    assert (clip_ids.shape[1], t5_ids.shape[1]) == (profile.clip_tokens, profile.text_tokens)
    assert engine.runner.parts.schedule.sigmas(4, 64) == sigmas(4)
    unknown = engine.runner.parts.tokenizer_2.unk_token_id
    assert unknown not in t5_ids


def test_another_guidance_or_caption_changes_what_is_drawn_in_training_too(trained):
    networks = Trainer(trained, Stop())._fresh_denoisers()
    state = torch.load(trained.folder / "flow.pt", weights_only=True)
    for name, network in networks.items():
        network.load_state_dict(state["networks"][name])
    control = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(1))

    def drawn(caption, **asked):
        return draw(networks, control, [caption], Words(), sigmas=sigmas(2), **asked)

    first = drawn("a red shirt")
    assert torch.equal(first, drawn("a red shirt"))
    assert not torch.equal(first, drawn("a blue skirt"))
    assert not torch.equal(first, drawn("a red shirt", follows=False))
    assert not torch.equal(first, drawn("a red shirt", guidance=1.0))
