"""A small software renderer: pictures of a head from numpy and numba alone, on any machine.

    posed vertices ──► camera ──► z-buffer (triangle per pixel) ──► shading in linear light ──► 2x2 average ──► sRGB

The light is a portrait set: warm key from the upper left of the picture, cool fill, rim from behind, sky and ground,
darkened by the baked occlusion. Skin gets a soft reddish edge of the shadow (wrapped diffuse light, wider for red).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cteg.errors import InputError
from cteg.face.rig import Rig, vertex_normals

# Dimensions: T frames, V vertices, F triangles, P pixels of one side at twice the asked size.

SUPERSAMPLING = 2
MAX_SIZE = 2048
FIELD_OF_VIEW = math.radians(16)
"""Narrow, like a portrait lens: a wide lens swells the nose."""

FRAME_FILL = 0.97
"""Share of the picture height that the head takes at most."""


def _direction(x: float, y: float, z: float) -> NDArray[np.float64]:
    """Return a unit vector (3,)."""
    vector = np.array([x, y, z], dtype=np.float64)
    return vector / np.linalg.norm(vector)


KEY_DIRECTION = _direction(-0.55, 0.55, 0.75)
FILL_DIRECTION = _direction(0.85, 0.05, 0.55)
RIM_DIRECTION = _direction(0.55, 0.45, -0.75)
KEY_COLOR = np.array([1.02, 0.96, 0.88])
FILL_COLOR = np.array([0.22, 0.25, 0.30])
RIM_COLOR = np.array([0.55, 0.58, 0.62])
SKY_COLOR = np.array([0.34, 0.36, 0.40])
GROUND_COLOR = np.array([0.20, 0.16, 0.14])
SKIN_WRAP = np.array([0.24, 0.15, 0.11])
"""How far the key light reaches round the edge of the shadow per channel: a cheap stand-in for light inside skin."""

DARKEST = 0.35
"""Share of direct light that the deepest occlusion leaves."""

HIGHLIGHT = (14.0, 260.0)
"""Exponent of the highlight: of skin, and what full gloss adds."""

NECK_FADE = 0.11
"""Share of the head's height over which its lower end dissolves."""

BACKGROUND_TOP = np.array([214, 220, 228])
BACKGROUND_BOTTOM = np.array([182, 190, 202])


@dataclass(frozen=True)
class Camera:
    """A camera that looks at the head from the front, turned by yaw and pitch.

    Attributes:
        target: (3,) point in the middle of the picture, metres.
        distance: Metres from the target.
        yaw: Radians; positive shows more of the head's left side (camera moves to +x).
        pitch: Radians; positive looks down from above.
    """

    target: NDArray[np.float64]
    distance: float
    yaw: float = 0.0
    pitch: float = 0.0

    @classmethod
    def framing(cls, rig: Rig, yaw: float = 0.0, pitch: float = 0.0) -> Camera:
        """Place the camera so that the whole neutral head fits the picture."""
        low, high = rig.neutral.min(axis=0).astype(np.float64), rig.neutral.max(axis=0).astype(np.float64)
        half = (high[1] - low[1]) / 2 / FRAME_FILL
        return cls((low + high) / 2, half / math.tan(FIELD_OF_VIEW / 2), yaw, pitch)

    def axes(self) -> NDArray[np.float64]:
        """Return the rows right, up, backward (towards the camera) as (3, 3)."""
        sin_yaw, cos_yaw = math.sin(self.yaw), math.cos(self.yaw)
        sin_pitch, cos_pitch = math.sin(self.pitch), math.cos(self.pitch)
        backward = np.array([sin_yaw * cos_pitch, sin_pitch, cos_yaw * cos_pitch])
        right = np.array([cos_yaw, 0.0, -sin_yaw])
        return np.stack([right, np.cross(backward, right), backward])

    def project(self, vertices: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
        """Return (V, 3): x and y in pixels (y down) and the distance along the view in metres (smaller is nearer)."""
        local = (vertices - self.target) @ self.axes().T
        depth = self.distance - local[:, 2]
        scale = pixels / 2 / math.tan(FIELD_OF_VIEW / 2) / depth
        x, y = pixels / 2 + local[:, 0] * scale, pixels / 2 - local[:, 1] * scale
        return np.stack([x, y, depth], axis=1).astype(np.float32)


def render_frames(
    rig: Rig,
    coefficients: NDArray[np.floating],
    size: int = 512,
    yaw_degrees: float = 0.0,
    pitch_degrees: float = 0.0,
) -> NDArray[np.uint8]:
    """Draw a head at every frame.

    Args:
        rig: The head.
        coefficients: (T, 53), or (53,) for one frame.
        size: Width and height in pixels, 16...2048.
        yaw_degrees: Turn of the camera; positive shows more of the head's left side.
        pitch_degrees: Positive looks down from above.

    Returns:
        (T, size, size, 3) uint8, sRGB.

    Raises:
        InputError: The size or the coefficients cannot be used.
    """
    if not 16 <= size <= MAX_SIZE:
        raise InputError(f"A picture needs a size of 16 to {MAX_SIZE} pixels, got {size}.")
    camera = Camera.framing(rig, math.radians(yaw_degrees), math.radians(pitch_degrees))
    posed = rig.vertices(coefficients)
    return np.stack([render_vertices(rig, vertices, camera, size) for vertices in posed])


def render_vertices(rig: Rig, vertices: NDArray[np.float32], camera: Camera, size: int) -> NDArray[np.uint8]:
    """Draw one pose (V, 3) of a head as (size, size, 3) uint8 sRGB."""
    pixels = size * SUPERSAMPLING
    normals = vertex_normals(vertices[None], rig.triangles)[0]
    triangles = rig.triangles.astype(np.int32)
    hit, weights = rasterise(camera.project(vertices, pixels), triangles, pixels)
    eye = camera.target + camera.distance * camera.axes()[2]
    scalars = np.stack([rig.occlusion / 255.0, rig.gloss / 255.0, _solid(rig.neutral[:, 1])], axis=1)
    material = np.concatenate([to_linear(rig.color), scalars], axis=1).astype(np.float32)
    # The lamps turn with the camera, so that a turned head is lit like a front one.
    to_world = camera.axes().T
    lamps = np.stack([to_world @ KEY_DIRECTION, to_world @ FILL_DIRECTION, to_world @ RIM_DIRECTION])
    picture = np.empty((size, size, 3), dtype=np.uint8)
    _shade(hit, weights, triangles, vertices, normals, material, lamps, eye, _background(size), SRGB_TABLE, picture)
    return picture


def rasterise(
    screen: NDArray[np.float32], triangles: NDArray[np.int32], pixels: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Find the nearest front-facing triangle of every pixel.

    Args:
        screen: (V, 3), x and y in pixels, depth (smaller is nearer).
        triangles: (F, 3), counter-clockwise seen from outside.
        pixels: Width and height P.

    Returns:
        Triangle index (P, P) int32, -1 where there is none, and the barycentric weights (P, P, 3) of its corners.
    """
    return _rasterise(screen.astype(np.float32), triangles.astype(np.int32), pixels)


def to_linear(color: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn sRGB bytes into linear light 0...1."""
    value = color.astype(np.float32) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(light: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Turn linear light into sRGB bytes; light above 1 is clipped."""
    value = np.clip(light, 0.0, 1.0)
    value = np.where(value <= 0.0031308, value * 12.92, 1.055 * np.maximum(value, 1e-9) ** (1 / 2.4) - 0.055)
    return (value * 255 + 0.5).astype(np.uint8)


def _solid(height: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 0 where the neck ends, 1 where it is solid, more above (V,): it dissolves instead of showing its cut."""
    low, high = height.min(), height.max()
    return (height - low) / (NECK_FADE * max(high - low, 1e-6))


def _background(rows: int) -> NDArray[np.float32]:
    """Return a soft vertical gradient (rows, 3) in linear light."""
    blend = np.linspace(0, 1, rows)[:, None]
    return to_linear(((1 - blend) * BACKGROUND_TOP + blend * BACKGROUND_BOTTOM).astype(np.uint8))


SRGB_TABLE = to_srgb(np.linspace(0, 1, 8192))
"""sRGB bytes of 8192 levels of linear light: a look-up is far quicker than a power per pixel."""


@njit(cache=True, nogil=True)
def _rasterise(screen, triangles, pixels):
    """Compiled body of `rasterise`."""
    hit = np.full((pixels, pixels), -1, dtype=np.int32)
    weights = np.zeros((pixels, pixels, 3), dtype=np.float32)
    nearest = np.full((pixels, pixels), np.inf, dtype=np.float32)
    for index in range(triangles.shape[0]):
        a, b, c = triangles[index, 0], triangles[index, 1], triangles[index, 2]
        ax, ay, bx, by, cx, cy = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= 0.0:  # y points down on the screen: a front face is clockwise there
            continue
        per_area = 1.0 / area
        first_x, last_x = max(0, int(np.ceil(min(ax, bx, cx) - 0.5))), min(pixels - 1, int(max(ax, bx, cx) - 0.5))
        first_y, last_y = max(0, int(np.ceil(min(ay, by, cy) - 0.5))), min(pixels - 1, int(max(ay, by, cy) - 0.5))
        for y in range(first_y, last_y + 1):
            for x in range(first_x, last_x + 1):
                px, py = x + 0.5, y + 0.5
                wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) * per_area
                wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) * per_area
                wc = 1.0 - wa - wb
                if wa < 0.0 or wb < 0.0 or wc < 0.0:
                    continue
                depth = wa * screen[a, 2] + wb * screen[b, 2] + wc * screen[c, 2]
                if depth < nearest[y, x]:
                    nearest[y, x] = depth
                    hit[y, x] = index
                    weights[y, x, 0], weights[y, x, 1], weights[y, x, 2] = wa, wb, wc
    return hit, weights


@njit(cache=True, fastmath=True, nogil=True)
def _shade(hit, weights, triangles, vertices, normals, material, lamps, eye, background, table, picture):
    """Fill `picture` (size, size, 3): light of the sub-pixels, averaged, as sRGB bytes.

    Sub-pixels of one pixel that show the same triangle are lit once, at their middle: most of them do.
    """
    size, parts = picture.shape[0], SUPERSAMPLING * SUPERSAMPLING
    light, total, middle = np.zeros(3), np.zeros(3), np.zeros(3)
    for y in range(size):
        for x in range(size):
            total[:] = 0.0
            done = 0  # bit by bit: which sub-pixels have been counted
            for part in range(parts):
                if done >> part & 1:
                    continue
                row, column = y * SUPERSAMPLING + part // SUPERSAMPLING, x * SUPERSAMPLING + part % SUPERSAMPLING
                index, same = hit[row, column], 0
                middle[:] = 0.0
                for other in range(part, parts):
                    row, column = y * SUPERSAMPLING + other // SUPERSAMPLING, x * SUPERSAMPLING + other % SUPERSAMPLING
                    if hit[row, column] == index:
                        done |= 1 << other
                        same += 1
                        for corner in range(3):
                            middle[corner] += weights[row, column, corner]
                if index < 0:
                    for channel in range(3):
                        total[channel] += same * background[y, channel]
                else:
                    for corner in range(3):
                        middle[corner] /= same
                    _light_of(middle, triangles[index], vertices, normals, material, lamps, eye, light)
                    solid = 0.0
                    for corner in range(3):
                        solid += middle[corner] * material[triangles[index, corner], 5]
                    solid = min(1.0, max(0.0, solid))
                    solid = solid * solid * (3.0 - 2.0 * solid)
                    for channel in range(3):
                        shown = solid * min(1.0, light[channel]) + (1.0 - solid) * background[y, channel]
                        total[channel] += same * shown
            for channel in range(3):
                level = max(0.0, total[channel] / (SUPERSAMPLING * SUPERSAMPLING))
                picture[y, x, channel] = table[int(level * (len(table) - 1) + 0.5)]


@njit(cache=True, fastmath=True, inline="always")
def _light_of(weight, corners, vertices, normals, material, lamps, eye, light):
    """Put the light that leaves one surface point into `light` (3,); material: colour, occlusion, gloss, ..."""
    px = py = pz = nx = ny = nz = occlusion = gloss = 0.0
    light[:] = 0.0
    for corner in range(3):
        vertex, share = corners[corner], weight[corner]
        px, py, pz = (
            px + share * vertices[vertex, 0],
            py + share * vertices[vertex, 1],
            pz + share * vertices[vertex, 2],
        )
        nx, ny, nz = nx + share * normals[vertex, 0], ny + share * normals[vertex, 1], nz + share * normals[vertex, 2]
        for channel in range(3):
            light[channel] += share * material[vertex, channel]
        occlusion += share * material[vertex, 3]
        gloss += share * material[vertex, 4]
    scale = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    vx, vy, vz = eye[0] - px, eye[1] - py, eye[2] - pz
    scale = 1.0 / math.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx * scale, vy * scale, vz * scale
    key = nx * lamps[0, 0] + ny * lamps[0, 1] + nz * lamps[0, 2]
    fill = max(0.0, nx * lamps[1, 0] + ny * lamps[1, 1] + nz * lamps[1, 2])
    rim = max(0.0, nx * lamps[2, 0] + ny * lamps[2, 1] + nz * lamps[2, 2])
    away = 1.0 - max(0.0, nx * vx + ny * vy + nz * vz)
    hx, hy, hz = vx + lamps[0, 0], vy + lamps[0, 1], vz + lamps[0, 2]
    shine = max(0.0, (nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz))
    specular = 0.0
    if shine > 0.5:  # below, the power is under 1e-4
        exponent = HIGHLIGHT[0] + HIGHLIGHT[1] * gloss * gloss
        specular = gloss * (0.25 + 1.9 * gloss) * shine**exponent * math.sqrt(occlusion)
    away_squared = away * away
    edge = rim * away_squared * occlusion * (0.25 + 0.75 * away_squared * away_squared)
    sky, shadow = 0.5 + 0.5 * ny, DARKEST + (1.0 - DARKEST) * occlusion
    for channel in range(3):
        base = light[channel]
        wrap = SKIN_WRAP[channel] * (1.0 - gloss)
        lit = max(0.0, (key + wrap) / (1.0 + wrap))
        ambient = (GROUND_COLOR[channel] * (1.0 - sky) + SKY_COLOR[channel] * sky) * occlusion
        diffuse = ambient + (KEY_COLOR[channel] * lit + FILL_COLOR[channel] * fill) * shadow
        light[channel] = base * diffuse + specular * KEY_COLOR[channel] + edge * RIM_COLOR[channel] * (0.3 + base)
