"""Every bundled head: one topology, clean lids, closed lips, teeth inside."""

from itertools import combinations

import numpy as np
import pytest
from scipy import sparse

from cteg import layout
from cteg.face.heads import Head, bundled_heads
from cteg.face.render import Camera, rasterise
from cteg.face.rig import Rig

HEADS = bundled_heads()
PIXELS = 400


@pytest.fixture(scope="module")
def default() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def pieces(default) -> np.ndarray:
    """Number of the connected piece that each vertex belongs to; 0 is the skin."""
    edges = np.concatenate([default.triangles[:, [0, 1]], default.triangles[:, [1, 2]]]).astype(int)
    graph = sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(default.vertex_count,) * 2)
    labels = sparse.csgraph.connected_components(graph, directed=False)[1]
    order = np.argsort(-np.bincount(labels), kind="stable")
    return np.argsort(order)[labels]


@pytest.fixture(scope="module")
def teeth(default, pieces) -> np.ndarray:
    """Which vertices are teeth, gums or tongue: small pieces around the middle of the mouth."""
    middle = np.stack([default.neutral[pieces == piece].mean(axis=0) for piece in range(pieces.max() + 1)])
    in_mouth = (np.abs(middle[:, 0]) < 0.005) & (np.abs(middle[:, 1] + 0.07) < 0.02)
    in_mouth[0] = False
    return in_mouth[pieces]


@pytest.fixture(scope="module", params=HEADS, ids=lambda head: head.name)
def rig(request) -> Rig:
    return Rig.load(request.param.path)


def mouth_view(rig: Rig, yaw: float = 0.0, closer: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """Triangle (P, P) and depth (P, P, metres) of every pixel of a close view of the mouth at rest."""
    camera = Camera(np.array([0.0, -0.07, 0.05]), closer, np.radians(yaw))
    screen = camera.project(rig.vertices(layout.neutral())[0], PIXELS)
    triangles = rig.triangles.astype(np.int32)
    hit, weights = rasterise(screen, triangles, PIXELS)
    return hit, (screen[triangles[hit], 2] * weights).sum(axis=2)


def test_all_heads_share_topology_shapes_and_joints(rig, default):
    np.testing.assert_array_equal(rig.triangles, default.triangles)
    assert rig.vertex_count == default.vertex_count
    assert (rig.shape_names, rig.joint_names) == (default.shape_names, default.joint_names)
    assert (rig.space, rig.corrective) == ("open", default.corrective)


def test_names_are_those_of_the_files_and_titles_tell_them_apart():
    assert [head.name for head in HEADS] == [head.path.stem for head in HEADS]
    assert len({head.title for head in HEADS}) == len(HEADS) >= 6
    assert HEADS[0].name == "default"


def test_heads_differ_in_face_and_colour():
    def face(head: Head) -> tuple[np.ndarray, np.ndarray]:
        rig = Rig.load(head.path)
        front = rig.neutral[:, 2] > -0.02
        return rig.neutral[front], rig.color[front].astype(float)

    for (one, one_color), (other, other_color) in combinations([face(head) for head in HEADS], 2):
        count = min(len(one), len(other))
        assert len(one) != len(other) or np.linalg.norm(one[:count] - other[:count], axis=1).mean() > 0.001
        assert np.abs(one_color.mean(axis=0) - other_color.mean(axis=0)).max() > 2


def test_lips_touch_and_teeth_are_inside_at_rest(rig, teeth):
    tooth = teeth[rig.triangles].all(axis=1)
    assert tooth.sum() > 300
    for yaw in (0, 40, -40, 90):
        hit, _ = mouth_view(rig, yaw)
        # 40 pixels are a square millimetre, the shadow in the corners of the mouth.
        assert tooth[hit[hit >= 0]].sum() <= 40, f"teeth show at {yaw} degrees"
    hit, depth = mouth_view(rig, closer=0.12)
    columns = slice(int(0.3 * PIXELS), int(0.7 * PIXELS))  # between the corners of the mouth
    assert (hit[:, columns] >= 0).all()
    steps = np.abs(np.diff(depth[:, columns], axis=0))
    assert steps.max() < 0.004, "the lips leave a gap"


def test_every_shape_moves_every_head_visibly(rig):
    coefficients = np.zeros((50, layout.D), dtype=np.float32)
    coefficients[:, layout.EXPRESSION] = np.eye(50)
    reach = np.linalg.norm(rig.vertices(coefficients) - rig.neutral, axis=2).max(axis=1)
    assert reach.min() > 0.0015, layout.OPEN_SHAPES[int(reach.argmin())]
    assert reach.max() < 0.06
