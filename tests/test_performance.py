"""The laws of synthesised performances: see docs/performance.md."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cteg import layout
from cteg.errors import InputError
from training.performance import blinks, captures, dynamics, gaze, script, speech
from training.performance.labels import LABELS
from training.performance.perform import draw_performance, emphasis, mirrored, perform, render
from training.performance.table import TABLES, read_table, read_variants, repertoire

INDEX = layout.INDEX
SENTENCE = "I really thought you would never come back, but here you are again!"


def take_like_facegood(seed: int, seconds: int = 40) -> tuple[np.ndarray, list[str]]:
    """Make a take of the layout of FACEGOOD: openings of about 0.3 s with pauses, and its channel names."""
    rng = np.random.default_rng(seed)
    rows = read_table(TABLES / "facegood_channels.tsv")
    names = sorted({part.split("=")[0] for row in rows for part in row["sources"].split()})
    times = np.arange(seconds * captures.CAPTURE_FPS) / captures.CAPTURE_FPS
    envelope = (np.sin(2 * np.pi * times / 5.0) > -0.6).astype(float)
    envelope = np.convolve(envelope, np.ones(9) / 9, "same")
    take = np.zeros((len(times), len(names)))
    opening = 0.25 * (1 - np.cos(2 * np.pi * 3.2 * times)) * envelope
    for name, size in (("mouth_stretch_c", 1.0), ("mouth_lowerLipDepress_l", 0.4), ("mouth_lowerLipDepress_r", 0.4)):
        take[:, names.index(name)] = size * opening
    for name in ("mouth_pucker_l", "mouth_pucker_r"):
        take[:, names.index(name)] = 0.3 * opening * (np.sin(2 * np.pi * 0.7 * times + rng.random()) > 0)
    return take, names


@pytest.fixture(scope="module")
def bank() -> captures.SpeechBank:
    takes = [take_like_facegood(seed) for seed in range(3)]
    return captures.build_bank([take for take, _ in takes], takes[0][1])


@pytest.fixture(scope="module")
def performances(bank):
    """Thirty performances of each of the seven feelings and some mixtures."""
    labels = [{name: 1.0} for name in ("joy", "sadness", "anger", "fear", "surprise", "disgust", "neutral")]
    labels += [{"joy": 0.5, "gratitude": 0.5}, {"anger": 0.65, "annoyance": 0.35}]
    return [
        draw_performance(SENTENCE, label, np.random.default_rng((7, k, n)), bank)
        for k, label in enumerate(labels)
        for n in range(30)
    ]


def draw(text: str, labels: dict[str, float], bank, seed: int = 0):
    return draw_performance(text, labels, np.random.default_rng(seed), bank)


# --- form ---------------------------------------------------------------------------------------------------------


def test_frames_are_in_range_and_start_neutral(performances):
    for performance in performances:
        frames = performance.frames
        assert frames.dtype == np.float32
        assert frames.shape[1] == layout.D
        assert 20 <= len(frames) <= script.LONGEST_FRAMES
        assert np.array_equal(frames, layout.clamp_open(frames))
        assert not frames[0].any()
        assert np.abs(frames[1]).max() < 0.06


@settings(max_examples=40, deadline=None)
@given(
    text=st.text(max_size=200),
    labels=st.dictionaries(st.sampled_from(LABELS), st.floats(0.01, 1.0), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_text_and_labels_give_a_valid_performance(bank, text, labels, seed):
    frames = draw(text, labels, bank, seed).frames
    assert np.isfinite(frames).all()
    assert np.array_equal(frames, layout.clamp_open(frames))
    assert 1 <= len(frames) <= script.LONGEST_FRAMES


def test_a_seed_gives_the_same_performance_and_another_seed_another(bank):
    first, again, other = (perform(SENTENCE, {"joy": 1.0}, np.random.default_rng(s), bank) for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or np.abs(first - other).max() > 0.1


def test_mouth_close_never_exceeds_the_jaw_opening(performances):
    for performance in performances:
        opening = performance.frames[:, INDEX["jawOpen"]] / layout.JAW_OPEN_RADIANS
        assert (performance.frames[:, INDEX["mouthClose"]] <= np.maximum(opening, 0) + 1e-6).all()


# --- what is felt -------------------------------------------------------------------------------------------------


def test_leading_labels_follow_the_weights():
    rng = np.random.default_rng(0)
    drawn = [script.draw_label({"joy": 0.6, "anger": 0.3, "fear": 0.1}, rng) for _ in range(4000)]
    for name, share in (("joy", 0.6), ("anger", 0.3), ("fear", 0.1)):
        assert drawn.count(name) / len(drawn) == pytest.approx(share, abs=0.025)


def test_most_sequences_of_mixed_labels_hold_two_emotions(bank):
    rng = np.random.default_rng(1)
    scripts = [script.draw_script(SENTENCE, {"joy": 0.5, "relief": 0.5}, repertoire(), rng) for _ in range(300)]
    share = np.mean([len({e.variant.label for e in s.episodes}) == 2 for s in scripts])
    assert share == pytest.approx(script.SECOND_IF_MIXED, abs=0.08)


def test_every_label_has_variants_that_can_be_told_apart():
    tables = repertoire()
    for label in LABELS:
        variants = tables.variants[label]
        assert len(variants) >= 3
        assert sum(v.weight for v in variants) == pytest.approx(1)
        for one, two in itertools.combinations(variants, 2):
            changed_gaze = one.gaze != two.gaze
            assert np.abs(one.intensities - two.intensities).max() >= (0.1 if changed_gaze else 0.2)


def test_rows_of_the_table_are_complete():
    tables = repertoire()
    for variant in itertools.chain(*tables.variants.values()):
        assert variant.source
        assert variant.gaze in gaze.HABITS
        assert 0.2 <= variant.onset <= 1.0
        assert 0 < variant.blink <= 2
        assert variant.intensities.min() >= 0
        assert variant.intensities.max() <= 1
        if variant.label != "neutral":  # a stranger must see it
            assert variant.intensities.max() >= 0.6, variant
    for label, followers in tables.followers.items():
        assert sum(followers.values()) == pytest.approx(1)
        assert label not in followers


@pytest.mark.parametrize(
    ("label", "units", "message"),
    [("glee", "12=0.5", "unknown label 'glee'"), ("joy", "12:0.5", "'12:0.5'"), ("joy", "6=0.5 99=1", "'99=1'")],
)
def test_rows_that_cannot_be_read_are_named(tmp_path, label, units, message):
    heading = (TABLES / "variants.tsv").read_text().splitlines()
    heading = next(line for line in heading if line.startswith("label"))
    path = tmp_path / "variants.tsv"
    path.write_text(f"{heading}\n{label}\todd\t1\t{units}\t0.5\tdirect\t1.0\tus\n")
    with pytest.raises(InputError, match=f"'odd' .*{message}"):
        read_variants((6, 12), path)


def test_fear_is_not_surprise_and_sadness_not_anger():
    tables = repertoire()
    mean = {
        name: np.sum([v.weight * v.intensities.mean(axis=0) for v in tables.variants[name]], axis=0)
        for name in ("fear", "surprise", "sadness", "anger")
    }
    unit = tables.units.numbers.index
    assert mean["fear"][unit(4)] > mean["surprise"][unit(4)] + 0.4
    assert mean["fear"][unit(20)] > mean["surprise"][unit(20)] + 0.5
    assert mean["surprise"][unit(26)] > mean["fear"][unit(26)]
    assert mean["sadness"][unit(1)] > mean["anger"][unit(1)] + 0.6
    assert mean["sadness"][unit(15)] > mean["anger"][unit(15)] + 0.5


def test_feelings_are_clearly_visible_at_the_apex(performances):
    for performance in performances:
        if performance.script.leading != "neutral":
            least = 0.25 if performance.script.style == "subtle" else 0.5
            assert performance.frames[:, layout.EXPRESSION].max() > least


def test_the_mouth_of_a_feeling_steps_back_while_speaking_and_returns(bank):
    smile = []
    for seed in range(200):
        performance = draw(SENTENCE, {"joy": 1.0}, bank, seed)
        s = performance.script
        hold = s.release - (s.speech_start + s.speech.duration)
        if s.speech.phrases and len({e.variant.label for e in s.episodes}) == 1 and hold > 0.6:
            curve = performance.frames[:, [INDEX["mouthSmileLeft"], INDEX["mouthSmileRight"]]].mean(axis=1)
            middle = int((s.speech_start + s.speech.duration * 0.8) * layout.FPS)
            smile.append((curve[middle], curve[int(s.release * layout.FPS) - 2]))
    during, after = np.median(np.array(smile), axis=0)
    assert 0.2 < during / after < 0.55
    assert after > 0.55


def test_the_face_returns_towards_neutral(performances):
    kept = []
    for performance in performances:
        magnitude = np.linalg.norm(performance.frames[:, layout.EXPRESSION], axis=1)
        if magnitude.max() > 0.8:
            kept.append(magnitude[-3:].mean() / magnitude.max())
    assert np.median(kept) < 0.25
    assert np.quantile(kept, 0.95) > 0.3  # not always fully


# --- time ---------------------------------------------------------------------------------------------------------


def test_minimum_jerk_rests_at_both_ends():
    phase = np.linspace(0, 1, 1001)
    curve = dynamics.minimum_jerk(phase)
    assert curve[0] == 0
    assert curve[-1] == pytest.approx(1)
    assert (np.diff(curve) >= 0).all()
    for order in (1, 2):
        change = np.diff(curve, order) * 1000**order
        assert abs(change[0]) < 0.1
        assert abs(change[-1]) < 0.1


def test_onsets_are_in_the_published_range_and_surprise_is_fastest(bank):
    tables = repertoire()
    onsets = {}
    for label in ("surprise", "joy", "sadness"):
        rng = np.random.default_rng(2)
        drawn = [script.draw_script(SENTENCE, {label: 1.0}, tables, rng).episodes[0].onset for _ in range(200)]
        onsets[label] = np.median(drawn)
        assert min(drawn) >= 0.2
        assert max(drawn) <= 1.4
    assert onsets["surprise"] < onsets["joy"] < onsets["sadness"]


def test_brows_rise_over_more_than_two_frames(bank):
    for seed in range(30):
        curve = draw(SENTENCE, {"surprise": 1.0}, bank, seed).frames[:, INDEX["browInnerUpLeft"]]
        assert np.abs(np.diff(curve)).max() * layout.FPS < 8.5  # per second


def test_motion_has_no_jitter(performances):
    # RMS jerk / RMS speed (1/s^2) of the Live Link Face takes at 25 frames a second
    real = {"browInnerUpLeft": 377, "browDownLeft": 475, "noseSneerLeft": 519, "mouthFrownLeft": 804}
    for name, limit in real.items():
        curves = [p.frames[:, INDEX[name]].astype(float) for p in performances]
        speed = np.concatenate([np.diff(curve) for curve in curves]) * layout.FPS
        jerk = np.concatenate([np.diff(curve, 3) for curve in curves]) * layout.FPS**3
        assert np.sqrt(np.mean(jerk**2) / np.mean(speed**2)) < limit


def test_length_follows_the_sentence(bank):
    seconds = {}
    for count in (1, 4, 9, 20, 40):
        text = " ".join(["never", "go", "alone"] * 14).split()[:count]
        lengths = [draw(" ".join(text) + "!", {"joy": 1.0}, bank, seed).frames.shape[0] for seed in range(40)]
        seconds[count] = np.median(lengths) / layout.FPS
    assert list(seconds.values()) == sorted(seconds.values())
    assert 1.2 < seconds[1] < 2.6
    assert 2.5 < seconds[9] < 5
    assert seconds[40] <= 9.6


# --- asymmetry ----------------------------------------------------------------------------------------------------


def test_asymmetry_has_the_measured_size():
    units = repertoire().units
    rng = np.random.default_rng(3)
    factors = np.stack([dynamics.side_factors(units.asymmetry, rng) for _ in range(3000)])
    mean = np.abs(factors[:, 0] - factors[:, 1]).mean(axis=0)
    unit = units.numbers.index
    assert 0.05 < mean[unit(12)] < 0.28  # between clear moments and all frames of real takes
    assert 0.10 < mean[unit(6)] < 0.28
    assert 0.07 < mean[unit(9)] < 0.38
    assert mean[unit(4)] < 0.05


def test_full_smiles_stay_lopsided(bank):
    found = []
    for seed in range(60):
        frames = draw("Yes.", {"joy": 1.0}, bank, seed).frames
        left, right = frames[:, INDEX["mouthSmileLeft"]].max(), frames[:, INDEX["mouthSmileRight"]].max()
        found.append(abs(left - right) / (left + right) * 2)
    assert 0.08 < np.mean(found) < 0.28


def test_one_sided_displays_come_on_both_sides(bank):
    raised = [draw("Hm.", {"curiosity": 1.0}, bank, seed).frames for seed in range(80)]
    sides = [f[:, INDEX["browOuterUpLeft"]].max() - f[:, INDEX["browOuterUpRight"]].max() for f in raised]
    assert min(sides) < -0.3
    assert max(sides) > 0.3
    frames = raised[0]
    assert np.array_equal(mirrored(mirrored(frames)), frames)
    assert np.array_equal(mirrored(frames)[:, INDEX["mouthLeft"]], frames[:, INDEX["mouthRight"]])
    assert np.array_equal(mirrored(frames)[:, INDEX["jawOpen"]], frames[:, INDEX["jawOpen"]])


# --- blinks -------------------------------------------------------------------------------------------------------


def draw_minutes(per_minute: float, phrase_ends=(), minutes: int = 60) -> list[blinks.Blinks]:
    rng = np.random.default_rng(4)
    rate = np.full(int(60 / blinks.STEP), per_minute)
    return [blinks.draw_blinks(60.0, rate, np.array(phrase_ends), rng) for _ in range(minutes)]


@pytest.mark.parametrize("per_minute", [5.0, blinks.REST_PER_MINUTE, blinks.CONVERSATION_PER_MINUTE])
def test_blink_rate_is_the_wanted_one(per_minute):
    drawn = draw_minutes(per_minute)
    assert np.mean([len(b.starts) for b in drawn]) == pytest.approx(per_minute, rel=0.1)
    gaps = np.concatenate([np.diff(b.starts) for b in drawn])
    assert gaps.min() > blinks.REFRACTORY - blinks.STEP


def test_blinks_cluster_at_phrase_ends():
    ends = np.arange(3.0, 60.0, 4.0)
    starts = np.concatenate([b.starts for b in draw_minutes(26.0, ends)])
    after_end = ((starts[:, None] >= ends) & (starts[:, None] < ends + blinks.PHRASE_WINDOW)).any(axis=1).mean()
    covered = len(ends) * blinks.PHRASE_WINDOW / 60
    assert after_end > 2 * covered


def test_blinks_have_the_published_shape():
    drawn = draw_minutes(20.0, minutes=20)
    closing = np.concatenate([b.closing for b in drawn]) * blinks.MIDDLE_SHARE
    opening = np.concatenate([b.opening for b in drawn]) * blinks.MIDDLE_SHARE
    depths = np.concatenate([b.depths for b in drawn])
    assert np.mean(closing) == pytest.approx(0.05, abs=0.004)
    assert opening.min() >= 0.083 - 1e-9
    assert opening.max() <= 0.150 + 1e-9
    assert np.mean(depths < 0.85) == pytest.approx(blinks.PARTIAL_SHARE, abs=0.08)
    times = np.arange(0, 60, 1 / layout.FPS)
    lids = np.concatenate([blinks.lid_curves(times, b) for b in drawn], axis=1)
    assert np.corrcoef(lids)[0, 1] > 0.96
    assert lids.max() <= 1


def test_wide_eyes_blink_less_and_nervous_ones_more(bank):
    def per_minute(label: str) -> float:
        drawn = [draw(SENTENCE, {label: 1.0}, bank, seed) for seed in range(60)]
        return 60 * sum(len(p.blinks.starts) for p in drawn) / sum(p.script.duration for p in drawn)

    assert per_minute("fear") < 0.6 * per_minute("neutral")
    assert per_minute("nervousness") > 1.2 * per_minute("neutral")


def test_a_blink_ends_wide_eyes(bank):
    for seed in range(40):
        performance = draw(SENTENCE, {"surprise": 1.0}, bank, seed)
        shut = performance.frames[:, INDEX["eyeBlinkLeft"]] > 0.9
        assert (performance.frames[shut, INDEX["eyeWideLeft"]] < 0.25).all()


# --- gaze ---------------------------------------------------------------------------------------------------------


def test_shame_looks_down_and_joy_at_the_viewer(bank):
    def mean_look(label: str, name: str) -> float:
        return float(np.mean([draw(SENTENCE, {label: 1.0}, bank, s).frames[:, INDEX[name]].mean() for s in range(40)]))

    assert mean_look("remorse", "eyeLookDownLeft") > 0.08
    assert mean_look("joy", "eyeLookDownLeft") < 0.03


def test_eyes_look_the_same_way():
    starts, durations, targets = gaze.draw_gaze([(0.1, 6.0, "scan")], np.random.default_rng(5))
    shapes = gaze.look_shapes(np.arange(150) / 25, starts, durations, targets)
    assert np.array_equal(shapes[:, INDEX["eyeLookOutLeft"]], shapes[:, INDEX["eyeLookInRight"]])
    assert not (shapes[:, INDEX["eyeLookOutLeft"]] * shapes[:, INDEX["eyeLookInLeft"]]).any()
    assert shapes[:, INDEX["eyeLookOutLeft"]].max() > 0.1


# --- speech -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "syllables"), [("cat", 1), ("table", 2), ("believe", 2), ("wanted", 2), ("a", 1), ("brrr", 1), ("25", 4)]
)
def test_syllables(word, syllables):
    assert speech.count_syllables(word) == syllables


def syllables(said: speech.Speech) -> int:
    return sum(len(phrase.starts) for phrase in said.phrases)


def test_speech_rate_and_pauses():
    rng = np.random.default_rng(6)
    rates, pauses = [], []
    for _ in range(200):
        said = speech.draw_speech("We waited for hours, and then nothing happened. Why did you go?", 8.0, rng)
        assert len(said.phrases) == 3
        rates.append(syllables(said) / sum(phrase.end - phrase.starts[0] for phrase in said.phrases))
        pauses.append(said.phrases[1].starts[0] - said.phrases[0].end)
    assert 4.0 < np.quantile(rates, 0.1) < np.quantile(rates, 0.9) < 5.6
    assert 0.15 <= min(pauses) <= max(pauses) <= 0.30


def test_long_speech_fits_the_time_there_is():
    said = speech.draw_speech("and so it goes on and on " * 12, 5.0, np.random.default_rng(0))
    assert 3.5 < said.duration <= 5.0


def test_about_seventy_percent_speak_and_silent_jaws_rest(performances):
    speaks = [bool(p.script.speech.phrases) for p in performances]
    assert np.mean(speaks) == pytest.approx(script.TALKATIVENESS, abs=0.08)
    for performance, does_speak in zip(performances, speaks, strict=True):
        if not does_speak and performance.script.leading == "neutral":
            assert performance.frames[:, INDEX["jawOpen"]].max() < 0.25 * layout.JAW_OPEN_RADIANS


def test_the_mouth_moves_only_while_something_is_said(bank):
    times = np.arange(150) / layout.FPS
    said = speech.draw_speech("This is a test sentence, with a pause.", 5.0, np.random.default_rng(1))
    motion = speech.mouth_motion(times, said, 1.0, bank, np.random.default_rng(1))
    still = (times < 1.0 - speech.EDGE) | (times > 1.0 + said.duration + speech.EDGE)
    assert not motion[still].any()
    assert motion[:, INDEX["jawOpen"]].max() > 0.05
    peaks = np.diff(np.sign(np.diff(motion[:, INDEX["jawOpen"]]))) < 0
    assert 0.4 < peaks.sum() / syllables(said) < 1.1


def test_bumps_peak_where_they_are_told_to():
    times = np.arange(100) / layout.FPS
    curve = dynamics.bumps(times, np.array([1.0, 2.0]), np.array([0.4, 0.2]), 0.24, 0.36)
    assert times[np.argmax(curve)] == pytest.approx(1.0, abs=0.05)
    assert curve[times < 0.75].max() == 0


def test_brows_move_on_stressed_words_alone():
    assert speech.is_stressed("NEVER")
    assert not speech.is_stressed("the")
    tables = repertoire()
    for label, brow in (("joy", "browOuterUpLeft"), ("anger", "browDownLeft")):
        heights = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            drawn = script.draw_script("You and I and she and we TRIUMPHED", {label: 1.0}, tables, rng)
            times = np.arange(drawn.frames) / layout.FPS
            curve = emphasis(times, drawn, tables, rng)[:, INDEX[brow]]
            if not curve.any():  # silent, or the one stressed word was not picked
                continue
            (stressed,) = drawn.speech.stressed
            assert times[curve.argmax()] == pytest.approx(drawn.speech_start + stressed, abs=0.05)
            assert not curve[np.abs(times - drawn.speech_start - stressed) > 0.4].any()
            heights.append(curve.max())
        assert len(heights) >= 3
        assert 0.02 < min(heights) <= max(heights) < 0.5


def test_captures_lose_their_pauses_and_are_cut_between_openings(bank):
    frames = bank.frames
    assert ((frames < captures.CLOSED).all(axis=1)).mean() < 0.35
    lengths = np.diff(bank.cuts) / captures.CAPTURE_FPS
    assert np.median(lengths) == pytest.approx(1 / 3.2, abs=0.06)
    assert bank.run_left[-1] == 1


def test_wrong_captures_are_refused(tmp_path):
    with pytest.raises(InputError, match="no FACEGOOD captures"):
        captures.load_bank(tmp_path)
    (tmp_path / "bsname.txt").write_text("a b c")
    (tmp_path / "x.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="damaged"):
        captures.load_bank(tmp_path)
    np.save(tmp_path / "x.npy", np.zeros((30, 3)))
    with pytest.raises(InputError, match="no channel"):
        captures.load_bank(tmp_path)


def test_render_is_separate_from_the_script(bank):
    tables = repertoire()
    drawn = script.draw_script(SENTENCE, {"pride": 1.0}, tables, np.random.default_rng(8))
    one, two = (render(drawn, tables, bank, np.random.default_rng(9)).frames for _ in range(2))
    assert np.array_equal(one, two)
