"""One door to mesh files: OBJ, PLY, GLB and NPZ."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vita_jax.base.files import write_npz
from vita_jax.data.files import read_npz
from vita_jax.render.glb import read_glb, write_glb
from vita_jax.render.mesh import Mesh, check_mesh
from vita_jax.render.obj import read_obj, write_obj
from vita_jax.render.ply import read_ply, write_ply


def load_mesh(path: str | os.PathLike) -> Mesh:
  """Loads a mesh by the ending of its file: .obj, .ply, .glb, or .npz with the fields of `Mesh`.

  Raises:
    FileNotFoundError: no such file.
    ValueError: another ending, or a file that cannot be read; one line that names it.
  """
  path = Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"no file {path}: give a mesh (.obj, .ply, .glb or .npz)")
  readers = {".obj": read_obj, ".ply": read_ply, ".glb": read_glb, ".npz": _read_npz}
  if path.suffix.lower() not in readers:
    raise ValueError(f"{path} is no mesh that can be read here: use {', '.join(readers)}")
  return readers[path.suffix.lower()](path)


def save_mesh(path: str | os.PathLike, mesh: Mesh) -> None:
  """Saves a mesh by the ending of the file; only .npz keeps all fields.

  Raises:
    ValueError: another ending.
  """
  writers = {".obj": write_obj, ".ply": write_ply, ".glb": write_glb, ".npz": _write_npz}
  ending = Path(path).suffix.lower()
  if ending not in writers:
    raise ValueError(f"{path} is no mesh that can be written here: use {', '.join(writers)}")
  writers[ending](path, mesh)


def _read_npz(path: Path) -> Mesh:
  arrays = read_npz(path)
  if missing := sorted({"vertices", "faces"} - arrays.keys()):
    raise ValueError(f"{path} has no {' and no '.join(missing)}: a mesh has vertices [V, 3] and faces [F, 3]")
  return check_mesh(Mesh(**{k: x for k, x in arrays.items() if k in Mesh._fields}), name=str(path))


def _write_npz(path: str | os.PathLike, mesh: Mesh) -> None:
  write_npz(path, {k: np.asarray(x) for k, x in mesh._asdict().items() if x is not None})
