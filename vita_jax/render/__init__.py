"""A differentiable renderer in JAX: meshes, cameras, rasterization, shading, soft silhouettes, skinning.

    mesh = render.load_mesh("body.obj")
    camera = render.perspective_camera(eye=(0.0, 1.0, 3.0), at=(0.0, 0.9, 0.0))
    image = render.render(mesh, camera, (256, 256), lights=render.Lights(), antialias=2)
    alpha = render.silhouette(mesh, camera, (128, 128))          # differentiable in vertices and camera

Conventions (axes, pixel centres, winding) are in README.md of this folder. All functions are pure and work
under `jax.jit`, `jax.grad` and `jax.vmap`.
"""

from vita_jax._lazy import submodules
from vita_jax.render.camera import (
  Camera,
  check_intrinsics,
  look_at,
  orbit,
  orthographic_camera,
  perspective_camera,
  pinhole_camera,
  to_screen,
)
from vita_jax.render.files import load_mesh, save_mesh
from vita_jax.render.maps import depth_map, normal_map, render, shrink
from vita_jax.render.mesh import Mesh, batch_meshes, check_mesh, face_normals, vertex_normals
from vita_jax.render.paste import face_colors_of, paste, with_decal
from vita_jax.render.pictures import frame_camera, save_gif, save_png, turntable
from vita_jax.render.primitives import tube
from vita_jax.render.raster import Fragments, fragments, interpolated, rasterize, visibility
from vita_jax.render.shading import Image, Lights, sample, shade
from vita_jax.render.skinning import forward_kinematics, local_transforms, rest_transforms, rotation_of, skin
from vita_jax.render.soft import silhouette, soft_render
from vita_jax.render.views import view_by_view

__all__ = [
  "Camera",
  "Fragments",
  "Image",
  "Lights",
  "Mesh",
  "batch_meshes",
  "check_intrinsics",
  "check_mesh",
  "depth_map",
  "face_colors_of",
  "face_normals",
  "forward_kinematics",
  "fragments",
  "frame_camera",
  "interpolated",
  "load_mesh",
  "local_transforms",
  "look_at",
  "normal_map",
  "orbit",
  "orthographic_camera",
  "paste",
  "perspective_camera",
  "pinhole_camera",
  "rasterize",
  "render",
  "rest_transforms",
  "rotation_of",
  "sample",
  "save_gif",
  "save_mesh",
  "save_png",
  "shade",
  "shrink",
  "silhouette",
  "skin",
  "soft_render",
  "to_screen",
  "tube",
  "turntable",
  "vertex_normals",
  "view_by_view",
  "visibility",
  "with_decal",
]

__getattr__, __dir__ = submodules(__name__)
