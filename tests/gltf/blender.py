"""Open a GLB in Blender, compare its vertices at a moment, take a picture. Run by hand, see docs/exports.md:

    blender -b --factory-startup --python tests/gltf/blender.py -- CLIP.glb SECOND PICTURE.png [VERTICES.npy]

VERTICES.npy is what `rig.vertices(clip)[frame]` says. With the package `bpy` instead of the program: `python
tests/gltf/blender.py -- ...`.
"""

import math
import sys

import bpy
import mathutils
import numpy as np

if not hasattr(np, "bool"):
    np.bool = bool  # Debian's Blender 3.4 meets a numpy that no longer has the name its importer uses

LAMPS = ((12, (-0.6, -0.9, 0.6)), (3, (0.9, -0.7, 0.0)))


def open_file(path):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=path)
    mesh = next(item for item in bpy.data.objects if item.type == "MESH" and item.data.shape_keys)
    print("Blender", bpy.app.version_string, "shape keys", len(mesh.data.shape_keys.key_blocks) - 1)
    print(
        "modifiers", [modifier.type for modifier in mesh.modifiers], "colours", list(mesh.data.color_attributes.keys())
    )
    return mesh


def go_to(second):
    position = second * bpy.context.scene.render.fps
    bpy.context.scene.frame_set(math.floor(position), subframe=position - math.floor(position))


def compare(mesh, path):
    posed = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
    place = np.array(mesh.matrix_world)
    found = np.array([vertex.co for vertex in posed.vertices]) @ place[:3, :3].T + place[:3, 3]
    found = np.stack([found[:, 0], found[:, 2], -found[:, 1]], axis=1)  # Blender's z points up
    away = np.sort(np.abs(found - np.load(path)).max(axis=1))
    print(f"distance from the rig: {away[-1]:.1e} m at most, {away[int(0.999 * len(away))]:.1e} m for 99.9 %")


def add(data, place):
    item = bpy.data.objects.new(data.name, data)
    bpy.context.scene.collection.objects.link(item)
    item.location = place
    aim = mathutils.Vector((0, 0, -0.019))
    item.rotation_euler = (aim - mathutils.Vector(place)).to_track_quat("-Z", "Y").to_euler()
    return item


def take_picture(path):
    scene = bpy.context.scene
    camera = bpy.data.cameras.new("camera")
    camera.angle, camera.clip_start = math.radians(16), 0.01
    scene.camera = add(camera, (0, -0.95, -0.019))
    for energy, place in LAMPS:
        lamp = bpy.data.lights.new("lamp", "AREA")
        lamp.energy, lamp.size = energy, 0.4
        add(lamp, place)
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.3, 0.33, 0.36, 1)
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 32, False
    scene.render.resolution_x = scene.render.resolution_y = 512
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath = path
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    file, second, picture, *expected = sys.argv[sys.argv.index("--") + 1 :]
    head = open_file(file)
    go_to(float(second))
    for vertices in expected:
        compare(head, vertices)
    take_picture(picture)
