"""Laws of the past that training shows: how far it is moved, and the way back."""

import torch

from training.history import MIXED, RETURN, mixed_history


def histories(clips=400, steps=3, size=4):
    torch.manual_seed(0)
    frames = torch.rand(clips, steps * size, 53)
    return frames, *mixed_history(frames, 0.5, size)


def test_half_of_the_clips_are_moved_towards_another_by_at_most_half_the_way():
    frames, seen, _ = histories()
    moved = seen.abs().amax((1, 2)) > 0
    assert abs(moved.float().mean() - MIXED) < 0.08
    shown = frames[:, 3::4] + seen
    assert shown.min() >= 0
    assert shown.max() <= 1  # between two clips of the same range
    assert seen.abs().max() <= 0.5
    assert seen.abs().max() > 0.4


def test_what_is_to_be_written_leads_half_of_the_way_back():
    _, seen, wanted = histories()
    assert not wanted[:, :4].any()  # nothing is known before the first step but rest
    torch.testing.assert_close(wanted[:, 7], (1 - RETURN) * seen[:, 0])
    way = torch.stack([seen[:, 0], *wanted[:, 4:8].unbind(1)]).norm(dim=-1)  # (K + 1, B)
    assert (way.diff(dim=0) <= 0).all()


def test_no_share_moves_nothing():
    seen, wanted = mixed_history(torch.rand(5, 8, 53), 0.0, 4)
    assert not seen.any()
    assert not wanted.any()
