"""The player's vertices are Python's for a head of FLAME's kind; `test_player` compares the bundled head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cteg.ui
from cteg import layout
from cteg.face.rig import Rig, vertex_normals
from tests.flame import flame_content, write_flame
from training.import_flame import build_rig, read_flame

pytestmark = pytest.mark.browser

ORIGIN = "http://cteg.test"
POSE = """async (frames) => {
  const { Rig } = await import("/rig.js");
  const rig = new Rig(await (await fetch("/head.safetensors")).arrayBuffer());
  const posed = frames.map((frame) => {
    rig.pose(frame);
    return [Array.from(rig.positions), Array.from(rig.normals)];
  });
  return { posed, space: rig.space, bounds: rig.bounds() };
}"""


def pose_in_browser(browser: Any, head: Path, frames: np.ndarray) -> dict[str, Any]:
    """Serve `rig.js` and a head file to an empty page and return what it makes of some frames."""
    script = Path(cteg.ui.__file__).parent / "player" / "rig.js"
    tab = browser.new_page()
    tab.route("**/*", lambda route: route.fulfill(body="", content_type="text/html"))
    tab.route("**/rig.js", lambda route: route.fulfill(path=script, content_type="text/javascript"))
    tab.route("**/head.safetensors", lambda route: route.fulfill(path=head))
    tab.goto(ORIGIN)
    result = tab.evaluate(POSE, frames.tolist())
    tab.close()
    return result


def flame_head(folder: Path) -> tuple[Path, np.ndarray]:
    """Dense shapes, nine correctives, joint weights of 16 bits and a pivot that moves."""
    rig = build_rig(read_flame(write_flame(folder / "model.pkl", flame_content())))
    random = np.random.default_rng(4)
    frames = random.normal(scale=1.2, size=(3, layout.D)).astype(np.float32)
    frames[:, layout.JAW] = random.uniform(*layout.JAW_LIMITS.T, (3, 3))
    return rig.save(folder / "head.safetensors"), frames


def test_vertices_and_normals_are_those_of_python(browser, tmp_path):
    path, frames = flame_head(tmp_path)
    frames[2] = 0
    rig = Rig.load(path)
    expected = rig.vertices(frames)
    normals = vertex_normals(expected, rig.triangles)
    result = pose_in_browser(browser, path, frames)
    size = np.ptp(rig.neutral, axis=0).max()
    assert result["space"] == rig.space
    for (got, got_normals), want, want_normals in zip(result["posed"], expected, normals, strict=True):
        assert np.abs(np.reshape(got, (-1, 3)) - want).max() < 1e-4 * size
        assert np.quantile(np.abs(np.reshape(got_normals, (-1, 3)) - want_normals), 0.999) < 1e-3
    assert (np.array(result["bounds"]["face"]["low"]) >= rig.neutral.min(axis=0) - 1e-6).all()
    assert (np.array(result["bounds"]["face"]["high"]) <= rig.neutral.max(axis=0) + 1e-6).all()
