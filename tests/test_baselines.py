"""The laws of the systems that CTEG is compared with."""

import numpy as np
import pytest
import torch

from cteg import WeightsError, sampling
from cteg.baselines import retrieval
from cteg.baselines.decoder import CTEGSystem
from cteg.baselines.lm_listener import CodeModel, LMListener, load_lm_listener, save_lm_listener
from cteg.baselines.motion_codes import LMListenerConfig, MotionCodes
from cteg.baselines.system import Sentences
from tests.models import TEXT_SIZE, sentence, small_model
from training.baselines import SMALLEST_COUNT, Codebook

CONFIG = LMListenerConfig(
    text_size=TEXT_SIZE, codes=24, code_size=6, channels=12, hidden_size=24, layers=2, heads=2, max_frames=48
)


def sentences(rows: int = 3, tokens: int = 6) -> Sentences:
    states, mask = sentence(tokens, rows)
    mask = mask.clone()
    mask[1, 3:] = False
    return Sentences([f"sentence {row}" for row in range(rows)], states, mask)


def clips(*lengths: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.cumsum(rng.uniform(0, 0.02, (length, 53)), axis=0).astype(np.float32) for length in lengths]


def listener() -> LMListener:
    torch.manual_seed(0)
    motion, language = MotionCodes(CONFIG), CodeModel(CONFIG)
    motion.scale.fill_(0.1)
    motion.encoder[-1].weight.data *= 30  # untrained, all clips would look alike
    embedded = motion.embed(torch.from_numpy(np.concatenate(clips(48, 48, 48)))[None])[0].detach()
    motion.codebook.copy_(embedded[torch.randperm(len(embedded))[: CONFIG.codes]])
    return LMListener(motion, language)


# -- CTEG behind the protocol ------------------------------------------------------------------------------------------


def test_what_is_generated_at_temperature_0_is_predicted_from_its_own_past():
    for form in ("causal", "global", "none"):
        system = CTEGSystem(small_model(expression_attention=form), "CTEG")
        made = [group[0] for group in system.generate(sentences(), 1, 0.0, seed=5)]
        for clip, predicted in zip(made, system.predict(sentences(), made), strict=True):
            np.testing.assert_allclose(predicted, clip, atol=2e-5, err_msg=form)


def test_a_prediction_does_not_look_ahead():
    for system in (CTEGSystem(small_model(), "CTEG"), listener()):
        true = clips(16, 27, 30)
        changed = [clip.copy() for clip in true]
        changed[1][12:] += 0.4
        before, after = system.predict(sentences(), true), system.predict(sentences(), changed)
        assert [len(clip) for clip in before] == [16, 27, 30]
        np.testing.assert_allclose(before[1][:12], after[1][:12], atol=1e-6)
        assert np.abs(before[1][12 + system.stride :] - after[1][12 + system.stride :]).max() > 1e-4
        np.testing.assert_allclose(before[2], after[2], atol=1e-6)


def test_a_sample_has_the_seed_that_its_place_says():
    model = small_model()
    made = CTEGSystem(model, "CTEG").generate(sentences(), 2, 1.0, seed=40)
    states, mask = sentences().states, sentences().mask
    alone = sampling.sample(model, states[2:], mask[2:], [45], 1.0)[0].numpy()
    np.testing.assert_allclose(made[2][1], alone, atol=1e-5)


def test_how_many_clips_are_written_together_changes_nothing(monkeypatch):
    for system in (CTEGSystem(small_model(), "CTEG"), listener()):
        true = clips(16, 27, 30)

        def written(rows, system=system, true=true):
            monkeypatch.setattr(type(system), "rows", rows)
            groups = system.generate(sentences(), 2, 1.0, 5)
            freely, predicted = system.generate_freely(5, 1.0, 5), system.predict(sentences(), true)
            return [*(clip for group in groups for clip in group), *freely, *predicted]

        for one, other in zip(written(256), written(2), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_without_latents_all_samples_are_one():
    system = CTEGSystem(small_model(has_step_latent=False, sequence_latent_size=0, stop="learned"), "deterministic")
    for group in system.generate(sentences(), 3, 1.0, seed=0):
        common = min(map(len, group))
        for clip in group[1:]:
            np.testing.assert_allclose(clip[:common], group[0][:common], atol=1e-6)  # rows round differently
    assert len(system.generate_freely(5, 1.0, 0)) == 5


# -- LM-Listener -------------------------------------------------------------------------------------------------------


def test_a_code_knows_its_past_only():
    motion = MotionCodes(CONFIG)
    frames = torch.rand(1, 32, 53)
    later = frames.clone()
    later[:, 20:] += 1
    before, after = motion.embed(frames), motion.embed(later)
    assert before.shape == (1, 8, CONFIG.code_size)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert (before[:, 5:] - after[:, 5:]).abs().amax(-1).min() > 1e-4


@pytest.mark.parametrize("halvings", [2, 3])
def test_the_last_frames_of_a_few_codes_are_those_of_all(halvings):
    motion = MotionCodes(LMListenerConfig(code_size=6, channels=12, halvings=halvings))
    embedded = torch.randn(1, 9, 6)
    few = motion.decode(embedded[:, -motion.context - 1 :])
    size = motion.config.stride
    torch.testing.assert_close(few[:, -size:], motion.decode(embedded)[:, -size:], atol=1e-5, rtol=1e-5)


def test_padding_a_text_changes_nothing():
    language = CodeModel(CONFIG).eval()
    some = sentences()
    codes = torch.randint(CONFIG.codes, (1, 5))
    padded = language(codes, some.states[1:2], some.mask[1:2])
    torch.testing.assert_close(padded, language(codes, some.states[1:2, :3], some.mask[1:2, :3]), atol=1e-5, rtol=1e-5)


def test_written_codes_are_those_of_the_teacher_forced_pass():
    language = CodeModel(CONFIG).eval()
    some = sentences()
    codes, lengths = language.write(some.states, some.mask, torch.rand(3, CONFIG.max_codes), temperature=0.0)
    logits = language(codes[:, :-1], some.states, some.mask)
    logits[:, 0, CONFIG.codes] = -torch.inf  # a clip has at least one code
    for row, length in enumerate(lengths.tolist()):
        assert 1 <= length <= CONFIG.max_codes
        torch.testing.assert_close(codes[row, :length], logits[row, :length].argmax(-1))


def test_a_listener_repeats_itself_and_depends_on_its_seed():
    system = listener()
    first, second, other = (system.generate(sentences(), 2, 1.0, seed) for seed in (3, 3, 4))
    assert all(
        np.array_equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )
    assert not np.array_equal(first[0][0], other[0][0])
    np.testing.assert_array_equal(first[0][1], other[0][0])  # seed 3 + 1 = seed 4
    assert all(len(clip) % system.stride == 0 for group in first for clip in group)
    assert len(system.generate_freely(3, 1.0, 0)) == 3


def test_a_listener_comes_back_from_its_files(tmp_path):
    system = listener()
    save_lm_listener(system.motion, system.language, tmp_path)
    back = load_lm_listener(tmp_path)
    assert back.config == CONFIG
    torch.testing.assert_close(back.motion.codebook, system.motion.codebook, atol=1e-2, rtol=1e-2)
    for wrong in ('{"codes": 3, "nonsense": 1}', '{"codes": "many"}', '{"code_size": -6}', "[", "3"):
        (tmp_path / "config.json").write_text(wrong)
        with pytest.raises(WeightsError, match=r"config\.json of the LM-Listener"):
            load_lm_listener(tmp_path)


def test_codes_move_to_what_chooses_them_and_idle_ones_restart():
    motion = MotionCodes(CONFIG)
    codebook = Codebook(motion)
    vectors = torch.zeros(200, CONFIG.code_size)
    vectors[100:] = 5
    codes = torch.zeros(200, dtype=torch.long)
    codes[100:] = 1
    for _ in range(600):
        codebook.update(vectors, codes)
    torch.testing.assert_close(motion.codebook[:2], vectors[[0, 100]], atol=0.05, rtol=0)
    assert (codebook.count[2:] <= SMALLEST_COUNT).all()
    assert torch.isin(motion.codebook[2:], torch.tensor([0.0, 5.0])).all()  # restarted at vectors of the batch


# -- retrieval and controls --------------------------------------------------------------------------------------------


def bank() -> tuple[retrieval.Bank, list[np.ndarray]]:
    made = clips(5, 6, 7, 8, 9)
    pooled = np.stack([sentences().states[row][sentences().mask[row]].mean(0).numpy() for row in range(3)])
    return retrieval.Bank(
        3 * pooled[::-1], [np.array([0, 1]), np.array([2]), np.array([3, 4])], made.__getitem__, 5
    ), made


def test_the_nearest_text_gives_its_performances_first():
    stock, made = bank()
    groups = retrieval.NearestText(stock).generate(sentences(), 3, 1.0, 0)
    assert [len(clip) for clip in groups[0][:2]] == [8, 9]  # the bank's sentences stand in reverse order
    assert groups[1][0] is made[2]
    assert [len(clip) for clip in groups[2][:2]] == [5, 6]
    assert all(len(group) == 3 for group in groups)
    assert retrieval.NearestText(stock).predict(sentences(), made[:3]) is None


def test_random_clips_are_the_banks():
    stock, made = bank()
    drawn = [clip for group in retrieval.RandomClip(stock).generate(sentences(), 20, 1.0, 0) for clip in group]
    assert {len(clip) for clip in drawn} == {5, 6, 7, 8, 9}
    assert all(clip is made[len(clip) - 5] for clip in drawn)


def test_the_mean_face_does_not_move():
    stock, made = bank()
    system = retrieval.MeanFace(stock, np.arange(53.0))
    group = system.generate(sentences(), 4, 1.0, 0)[0]
    assert {len(clip) for clip in group} <= {5, 6, 7, 8, 9}
    assert all((clip == np.arange(53)).all() for clip in group)
    assert [clip.shape for clip in system.predict(sentences(), made[:3])] == [(5, 53), (6, 53), (7, 53)]


def test_shuffled_frames_are_the_references_own():
    references = [clips(9, 11), clips(8), clips(7)]
    groups = retrieval.ShuffledFrames(references).generate(sentences(), 2, 1.0, 0)
    for made, clip in ((groups[0][1], references[0][1]), (groups[1][1], references[1][0])):
        assert not np.array_equal(made, clip)
        np.testing.assert_array_equal(made[np.argsort(made[:, 0])], clip[np.argsort(clip[:, 0])])


def test_performances_drawn_by_feeling_follow_the_weights_and_other_words():
    stock = clips(5, 6, 7, 8)
    weights = np.array([[0.8, 0.2, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    texts = ["sentence 0", "another", "sentence 1", "third"]
    system = retrieval.DrawnByFeeling("drawn", weights, stock, np.array([0, 0, 1, 1]), texts)
    groups = system.generate(sentences(), 300, 1.0, 0)
    lengths = [np.array([len(clip) for clip in group]) for group in groups]
    assert set(lengths[0]) == {6, 7, 8}  # never its own words, of length 5
    assert (lengths[0] == 6).mean() == pytest.approx(0.8, abs=0.07)
    assert set(lengths[1]) == {8}
    assert set(lengths[2]) <= {5, 6}  # no performance of the third feeling
