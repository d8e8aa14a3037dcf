"""Bodies that wear the logo: three CC0 figures, a folder of one's own, or a mannequin that needs no file."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vita_jax import render
from vita_jax.base.choose import choose
from vita_jax.data.files import read_npz
from vita_jax.data.sources import missing, source_files
from vita_jax.papers.adv_logo.charts import Landmarks

MANNEQUIN = "mannequin"
ENDINGS = (".obj", ".glb", ".ply", ".npz")
JOINTS = {"neck": "neck01", "hips": "root", "left_shoulder": "upperarm01.L", "right_shoulder": "upperarm01.R"}
# Heights of a standing body's joints and half the distance of its shoulders, by its height.
PROPORTIONS = {"neck": 0.85, "hips": 0.53, "shoulder": 0.80, "shoulder_aside": 0.108}


class Body(NamedTuple):
  """A standing body, +y up, +z its front; `torso` bool [V], None where it is not known."""

  name: str
  mesh: render.Mesh
  landmarks: Landmarks
  torso: np.ndarray | None = None


def load_bodies(path: str, names: Sequence[str]) -> list[Body]:
  """Loads bodies by name.

  Args:
    path: a folder of meshes (.obj, .glb, .ply, .npz), named by their files; "mannequin", generated; or "",
      the three bodies of human/humans.npz under $VITA_DATA_DIR.
    names: which; () for all.

  Raises:
    FileNotFoundError: no such folder, or no data.
    ValueError: an unknown name, or a mesh that cannot be read or that `render.check_mesh` refuses.
  """
  if path == "":
    found = _humans()
  elif path == MANNEQUIN:
    found = {name: functools.partial(mannequin, name) for name in (MANNEQUIN, "mannequin_wide")}
  else:
    found = _folder(Path(path).expanduser())
  chosen = [choose("body", name, found) for name in names] or sorted(found)
  return [found[name]() for name in chosen]


def _humans() -> dict[str, functools.partial]:
  files = source_files("human")
  if files is None:
    raise FileNotFoundError(
      f"no bodies: {missing('human')}; put them there, or give meshes of your own as"
      f" --config.bodies.path=FOLDER, or the generated --config.bodies.path={MANNEQUIN}"
    )
  arrays = read_npz(*files.values())
  names = sorted(key.removesuffix("_vertices") for key in arrays if key.endswith("_vertices"))
  return {name: functools.partial(_human, arrays, name) for name in names}


def _human(arrays: dict[str, np.ndarray], name: str) -> Body:
  place = {str(joint): i for i, joint in enumerate(arrays["joint_names"])}
  joints = arrays[f"{name}_joints"]
  regions = [str(region) for region in arrays["region_names"]]
  colors = arrays[f"{name}_face_colors"].astype(np.float32) / 255
  mesh = render.Mesh(arrays[f"{name}_vertices"], arrays["faces"], face_colors=colors)
  landmarks = Landmarks(**{mark: joints[place[joint]] for mark, joint in JOINTS.items()})
  away = [regions.index(region) for region in ("forearm_hand", "head_neck")]
  torso = arrays["region_weights"][:, away].astype(np.float32).sum(axis=1) < 0.5
  return Body(name, render.check_mesh(mesh, name=name), landmarks, torso)


def _folder(folder: Path) -> dict[str, functools.partial]:
  if not folder.is_dir():
    raise FileNotFoundError(f"no folder {folder}: config.bodies.path is a folder of meshes, or empty")
  files = sorted(file for file in folder.iterdir() if file.suffix.lower() in ENDINGS)
  if not files:
    raise ValueError(f"{folder} has no meshes: they end in {', '.join(ENDINGS)}")
  return {file.stem: functools.partial(_of_file, file) for file in files}


def _of_file(file: Path) -> Body:
  """A mesh with the landmarks that its npz file names, else those of usual proportions."""
  mesh = render.load_mesh(file)
  if not len(mesh.faces):
    raise ValueError(f"{file} has no faces: a body is a mesh of triangles")
  landmarks = proportioned(mesh)
  if file.suffix.lower() == ".npz":
    arrays = read_npz(file)
    given = {mark: arrays[mark].astype(np.float64) for mark in Landmarks._fields if mark in arrays}
    landmarks = landmarks._replace(**given)
  return Body(file.stem, mesh, landmarks)


def proportioned(mesh: render.Mesh) -> Landmarks:
  """Guesses the landmarks of a standing body by its height and usual proportions (`PROPORTIONS`)."""
  points = np.asarray(mesh.vertices, np.float64)
  low, height = points[:, 1].min(), float(np.ptp(points[:, 1]))
  x, z = np.median(points[:, 0]), np.median(points[:, 2])
  aside = PROPORTIONS["shoulder_aside"] * height

  def at(x: float, part: float) -> np.ndarray:
    return np.array([x, low + part * height, z])

  shoulder = PROPORTIONS["shoulder"]
  return Landmarks(
    at(x, PROPORTIONS["neck"]),
    at(x, PROPORTIONS["hips"]),
    at(x + aside, shoulder),
    at(x - aside, shoulder),
  )


def mannequin(name: str = MANNEQUIN) -> Body:
  """Generates a standing figure of ellipsoids and tubes, 1.75 m high, with face colours: for tests.

  `mannequin_wide` has a torso that is a quarter wider.
  """
  wide = 1.25 if name.endswith("wide") else 1.0
  skin, shirt, trousers = (0.8, 0.6, 0.48), (0.85, 0.85, 0.87), (0.15, 0.2, 0.35)
  torso = [
    (0.0, y, 0.0, wide * rx, rz) for y, rx, rz in ((0.88, 0.16, 0.1), (1.1, 0.14, 0.1), (1.42, 0.19, 0.1))
  ]
  parts = [
    (torso + [(0.0, 1.5, 0.0, 0.06, 0.06)], shirt),
    ([(0.0, 1.48, 0.0, 0.055, 0.055), (0.0, 1.56, 0.0, 0.08, 0.09), (0.0, 1.66, 0.0, 0.085, 0.1)], skin),
    ([(0.0, 1.66, 0.0, 0.085, 0.1), (0.0, 1.75, 0.0, 0.03, 0.04)], (0.15, 0.1, 0.08)),
  ]
  for side in (1, -1):
    arm = [(side * wide * 0.19, 1.42, 0.0, 0.05, 0.05), (side * wide * 0.3, 0.85, 0.06, 0.035, 0.035)]
    leg = [(side * 0.09, 0.92, 0.0, 0.085, 0.09), (side * 0.1, 0.0, 0.0, 0.05, 0.07)]
    parts += [(arm, skin), (leg, trousers)]
  vertices: list[np.ndarray] = []
  faces, colors = [], []
  for stations, color in parts:
    part = render.tube(stations)
    faces.append(part.faces + sum(map(len, vertices)))
    vertices.append(np.asarray(part.vertices))
    colors.append(np.broadcast_to(np.array(color), (len(part.faces), 3)))
  mesh = render.Mesh(np.concatenate(vertices), np.concatenate(faces), face_colors=np.concatenate(colors))
  marks = {"neck": (0.0, 1.48, 0.0), "hips": (0.0, 0.92, 0.0)}
  marks |= {f"{side}_shoulder": (x * wide * 0.19, 1.42, 0.0) for side, x in (("left", 1), ("right", -1))}
  landmarks = Landmarks(**{mark: np.array(place, np.float64) for mark, place in marks.items()})
  torso_vertices = np.arange(sum(map(len, vertices))) < len(vertices[0])
  return Body(name, render.check_mesh(mesh, name=name), landmarks, torso_vertices)
