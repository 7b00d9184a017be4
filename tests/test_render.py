"""Pictures and films: not empty, different for different faces, and no eye seen through closed lids."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from cteg import layout
from cteg.errors import InputError
from cteg.face.heads import bundled_heads
from cteg.face.render import Camera, rasterise, render_frames, to_linear, to_srgb
from cteg.face.rig import Rig
from tests.poses import frame


@pytest.fixture(scope="module")
def head() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module", params=bundled_heads(), ids=lambda head: head.name)
def any_head(request) -> Rig:
    return Rig.load(request.param.path)


def blink(level: float, **more: float) -> np.ndarray:
    return frame(eyeBlinkLeft=level, eyeBlinkRight=level, **more)


def visible_eye(head: Rig, coefficients: np.ndarray, yaw: float = 0.0) -> np.ndarray:
    """Mask (P, P) of the pixels that show an eyeball (white, iris and reflections), in a close view of the left eye."""
    joint = head.joint_names.index("eye_left")
    iris = head.joint_vertices[head.joint_offsets[joint] : head.joint_offsets[joint + 1]]
    distance = np.linalg.norm(head.neutral - head.joint_pivots[joint], axis=1)
    ball = np.abs(distance - distance[iris].max()) < 0.0004  # lids keep farther away
    target = head.joint_pivots[joint].astype(float) + np.array([0, 0, 0.015])
    camera = Camera(target, 0.18, np.radians(yaw))
    pixels = 400
    hit, _ = rasterise(camera.project(head.vertices(coefficients)[0], pixels), head.triangles.astype(np.int32), pixels)
    return (hit >= 0) & ball[head.triangles].all(axis=1)[hit]


@pytest.mark.parametrize("yaw", [0, 35, -35])
def test_the_picture_shows_a_face(head, yaw):
    picture = render_frames(head, layout.neutral(), 96, yaw)[0]
    assert picture.shape == (96, 96, 3)
    assert picture.dtype == np.uint8
    centre = picture[40:60, 40:60].astype(int)
    assert (centre[..., 0] > centre[..., 2] + 20).mean() > 0.5  # skin is warm, the background is not
    assert np.abs(picture[2, 2].astype(int) - picture[2, -3]).max() < 6


def test_different_coefficients_give_different_pictures(head):
    faces = render_frames(head, np.stack([frame(), frame(browDownLeft=1), frame(jawOpen=0.4), blink(1)]), 128)
    for one in range(4):
        for other in range(one):
            assert np.abs(faces[one].astype(int) - faces[other]).max() > 40


def test_a_closed_lid_covers_the_eye(any_head):
    open_pixels = visible_eye(any_head, frame()).sum()
    assert open_pixels > 2500
    for yaw in (0, 25, -25):
        assert visible_eye(any_head, blink(1.0), yaw).sum() <= 0.001 * open_pixels
    squinting = blink(1.0, eyeSquintLeft=1, cheekSquintLeft=1)
    assert visible_eye(any_head, squinting).sum() <= 0.002 * open_pixels


def test_lids_close_steadily_and_the_eye_does_not_poke_through(any_head):
    shown = []
    for level in (0, 0.25, 0.5, 0.75, 1):
        mask = visible_eye(any_head, blink(level))
        shown.append(int(mask.sum()))
        parts, count = ndimage.label(mask)
        if count:
            sizes = np.bincount(parts.ravel())[1:]
            assert sizes.max() >= 0.97 * sizes.sum(), f"eyeball shows through the lid at blink {level}"
    assert all(later < earlier for earlier, later in pairwise(shown))
    assert 0.2 < shown[2] / shown[0] < 0.75


def test_srgb_round_trip():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_srgb(to_linear(levels)), levels)


@pytest.mark.parametrize("size", [0, 5000])
def test_impossible_sizes_are_refused(head, size):
    with pytest.raises(InputError, match="size"):
        render_frames(head, layout.neutral(), size)
