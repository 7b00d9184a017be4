"""Long texts: where they are cut, and that what is performed sentence by sentence is one continuous clip."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cteg
from cteg.errors import InputError
from cteg.generator import Generator
from cteg.sampling import ROWS, Opening, draw_noise, sample
from cteg.sentences import MOST_PARTS, SHORTEST, split_sentences
from cteg.text import MAX_CHARACTERS, check_text
from cteg.ui.examples import EXAMPLES
from tests.models import sentence, small_encoder, small_model

HAPPY = "I am so happy that you finally came home!"
DISGUSTED = "But what you did to my sister is disgusting."


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One sentence without an end, and nothing more", 1),
        (f"{HAPPY} {DISGUSTED}", [HAPPY, DISGUSTED]),
        ("What? Oh. No! This cannot be true, can it?", 1),  # too short to stand alone
        ("I thought about it for a while. Why?", 1),
        ("Dr. Smith met J. R. Stone at 5 p.m. in St. Ives, e.g. by the sea.", 1),
        ("We came first in the U.S. League, as No. 7 of all teams.", 1),
        (
            "My answer to you is no. Nothing will ever change it.",
            ["My answer to you is no.", "Nothing will ever change it."],
        ),
        ("He cried and cried... and then he laughed at us.", 1),
        ("He cried and he cried… Then he laughed at us.", ["He cried and he cried…", "Then he laughed at us."]),
        ("She said: “Leave me alone!” Then she walked away.", ["She said: “Leave me alone!”", "Then she walked away."]),
        ("Did you really do that?! I can hardly believe it.", ["Did you really do that?!", "I can hardly believe it."]),
        ("www.example.com is version 2.5.1 of what we made.", 1),
        ("?!?! ... !!!", 1),
    ],
)
def test_where_a_text_is_cut(text, parts):
    found = split_sentences(text)
    assert found == parts if isinstance(parts, list) else len(found) == parts


@pytest.mark.parametrize("text", EXAMPLES.values())
def test_the_examples_are_one_performance_each(text):
    assert split_sentences(text) == [text]


WORDS = st.sampled_from(["I", "Mr.", "no.", "Why?", "Stop!", "stay", "7.", "e.g.", "word", "…", "“Go!”", "It's over."])


@given(st.lists(WORDS, min_size=1, max_size=80).map(" ".join))
@settings(max_examples=200, deadline=None)
def test_no_text_is_lost_and_the_limits_hold(text):
    text = check_text(text[:MAX_CHARACTERS])
    parts = split_sentences(text)
    assert " ".join(parts) == text
    assert 1 <= len(parts) <= MOST_PARTS
    assert len(parts) == 1 or min(map(len, parts)) >= SHORTEST


def test_a_later_part_has_noise_of_its_own_and_the_first_part_that_of_before():
    model = small_model()
    first, again, second = (draw_noise(model, [7, 8], part) for part in (0, 0, 1))
    assert torch.equal(first.latent, again.latent)
    assert not torch.equal(first.latent, second.latent)
    assert not torch.equal(second.latent[0], second.latent[1])
    assert torch.equal(second.latent[1], draw_noise(model, [8], 1).latent[0])


@pytest.mark.parametrize("changes", [{}, {"expression_attention": "global"}, {"frames_per_step": 1}], ids=str)
def test_clips_begin_where_the_last_ones_ended(changes):
    """The first frame moves away from any start by as little as from rest, with and without caches."""
    model, (text, mask) = small_model(**changes), sentence()
    seeds = list(range(ROWS))
    start = torch.rand(ROWS, 53) * 0.3
    opening = Opening(1, start)
    clips = sample(model, text, mask, seeds, 1.0, opening=opening)
    jump = torch.stack([(clip[0] - frame).norm() for clip, frame in zip(clips, start, strict=True)])
    from_rest = sample(model, text, mask, seeds, 1.0)
    assert jump.max() < 3 * max((clip[0] - model.first_frame).norm() for clip in from_rest)
    recomputed = sample(model, text, mask, seeds, 1.0, is_cached=False, opening=opening)
    for one, other in zip(clips, recomputed, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_rest_is_what_a_clip_began_with_before_there_were_parts():
    model, (text, mask) = small_model(), sentence()
    rest = Opening(0, model.first_frame.expand(ROWS, -1))
    plain = sample(model, text, mask, list(range(ROWS)), 1.0)
    for one, other in zip(plain, sample(model, text, mask, list(range(ROWS)), 1.0, opening=rest), strict=True):
        assert torch.equal(one, other)


def test_a_text_grows_part_by_part_and_ends_as_generate_returns_it():
    generator = Generator(small_model(), small_encoder(), "small")
    text = "I love it so much, wow! I hate it so much, no! We love this so much, yes!"
    grown = list(generator.stream(text, 3, 1.0, 5))
    assert len(grown) == 3
    for before, after in pairwise(grown):
        for short, long in zip(before, after, strict=True):
            assert len(long) > len(short)
            assert np.array_equal(long.coefficients[: len(short)], short.coefficients)
    for got, want in zip(grown[-1], generator.generate(text, 3, 1.0, 5), strict=True):
        assert np.array_equal(got.coefficients, want.coefficients)
    assert all(clip.text == text for clips in grown for clip in clips)
    with pytest.raises(InputError, match="empty"):
        generator.stream("", 3, 1.0, 5)  # at once, not when the first part is asked for


def test_sample_i_of_a_long_text_depends_on_its_own_seed_alone():
    generator = Generator(small_model(), small_encoder(), "small")
    text = "I love it so much, wow! I hate it so much, no!"
    four, two = (generator.generate(text, samples, 1.0, 5) for samples in (4, 2))
    for one, other in zip(four, two, strict=False):
        assert np.array_equal(one.coefficients, other.coefficients)
    (third,) = generator.generate(text, 1, 1.0, 7)
    assert third.coefficients.shape == four[2].coefficients.shape
    np.testing.assert_allclose(third.coefficients, four[2].coefficients, atol=1e-5)
    cold = generator.generate(text, 3, 0.0, 5)
    assert all(np.array_equal(clip.coefficients, cold[0].coefficients) for clip in cold)


def test_the_feelings_of_a_long_text_are_the_mean_of_its_parts():
    generator = Generator(small_model(), small_encoder(), "small")
    parts = ["I love it so much, wow!", "I hate it so much, no!"]
    alone = [generator.read_feelings(part) for part in parts]
    together = generator.read_feelings(" ".join(parts))
    for label, share in together.items():
        assert share == pytest.approx((alone[0][label] + alone[1][label]) / 2, abs=1e-5)


def test_the_bundled_model_shows_no_seam_and_turns_from_joy_to_disgust():
    """At the seam a face moves no more than it usually does, and either half shows its own sentence's feeling."""
    from cteg.checkpoint import BUNDLED, load_module
    from cteg.emotion import SEVEN, MotionClassifier

    classifier = MotionClassifier()
    load_module(BUNDLED / "motion_classifier.safetensors", classifier)
    first, whole = cteg.load().stream(f"{HAPPY} {DISGUSTED}", 8, 1.0, 22)
    jumps, usual, halves = [], [], []
    for begin, clip in zip(first, whole, strict=True):
        moved = np.linalg.norm(np.diff(clip.coefficients, axis=0), axis=1)
        jumps.append(moved[len(begin) - 1])
        usual.append(moved)
        halves.append((clip.coefficients[: len(begin)], clip.coefficients[len(begin) :]))
    assert np.mean(jumps) < np.mean(np.concatenate(usual))
    assert max(jumps) < np.percentile(np.concatenate(usual), 90)
    assert min(np.linalg.norm(begin[-1]) for begin, _ in halves) > 0.1  # not from rest: that would be no test
    read = [classifier.probabilities(list(half)) for half in zip(*halves, strict=True)]  # 2 x (8, 7)
    assert np.mean(read[0].argmax(1) == SEVEN.index("joy")) > 0.7
    assert np.mean(read[1].argmax(1) == SEVEN.index("joy")) < 0.2
