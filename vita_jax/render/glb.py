"""GLB (binary glTF 2.0): reading meshes with their texture and skin, writing a textured mesh.

All triangle primitives of the file are joined into one mesh, in the pose of the file's nodes.
"""

from __future__ import annotations

import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from vita_jax.base.files import parse_json, write_bytes
from vita_jax.data.files_image import read_image
from vita_jax.render.mesh import Mesh, check_mesh
from vita_jax.render.skinning import forward_kinematics

_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942


def read_glb(path: str | os.PathLike) -> Mesh:
  """Reads positions, triangles, texture coordinates, vertex colours, the base colour texture, and the skin.

  glTF counts texture rows from the top; uv is turned so that (0, 0) is the lower left corner. With a skin,
  `joints` holds the inverse bind matrices and `parents` the skeleton; vertices are in the bind pose.

  Raises:
    ValueError: a file that is no GLB, is damaged, or needs an extension (named) that is not read here.
  """
  name = os.fspath(path)
  document, binary = _chunks(Path(path).read_bytes(), name)
  if needed := document.get("extensionsRequired"):
    raise ValueError(f"{name} needs the glTF extensions {', '.join(needed)}: export it without them")
  try:
    parts = _primitives(document, binary)
    if not parts:
      raise ValueError("it has no triangles")
    mesh = _join(parts, _skin(document, binary), _texture(document, binary))
  except (KeyError, IndexError, TypeError, struct.error) as error:
    raise ValueError(f"{name} is damaged: {type(error).__name__} {error}") from error
  except ValueError as error:
    raise ValueError(f"{name}: {error}") from error
  return check_mesh(mesh, name=name)


def _chunks(content: bytes, name: str) -> tuple[dict[str, Any], bytes]:
  if len(content) < 20 or struct.unpack_from("<I", content)[0] != _MAGIC:
    raise ValueError(f"{name} is not a GLB file (binary glTF)")
  version, total = struct.unpack_from("<II", content, 4)
  if version != 2 or total > len(content):
    raise ValueError(f"{name} is glTF version {version}, or cut short: export it as GLB 2.0")
  found, at = {}, 12
  while at + 8 <= total:
    length, kind = struct.unpack_from("<II", content, at)
    found[kind] = content[at + 8 : at + 8 + length]
    at += 8 + length
  if _JSON not in found:
    raise ValueError(f"{name} is damaged: it has no JSON")
  return parse_json(found[_JSON], name, what="a GLB file"), found.get(_BIN, b"")


def _accessor(document: dict[str, Any], binary: bytes, index: int) -> np.ndarray:
  """The values of an accessor, [count, width]; normalised integers as float32 in [0, 1] or [-1, 1]."""
  accessor = document["accessors"][index]
  if "sparse" in accessor or "bufferView" not in accessor:
    raise ValueError("sparse accessors are not read: export without them")
  buffer = document["bufferViews"][accessor["bufferView"]]
  if buffer.get("buffer", 0) != 0:
    raise ValueError("data outside of the GLB file is not read: embed the buffers")
  kind, width = np.dtype(_COMPONENTS[accessor["componentType"]]), _WIDTHS[accessor["type"]]
  start = buffer.get("byteOffset", 0) + accessor.get("byteOffset", 0)
  stride, count = buffer.get("byteStride") or kind.itemsize * width, accessor["count"]
  if count and start + stride * (count - 1) + kind.itemsize * width > len(binary):
    raise ValueError("an accessor ends beyond the file")
  rows = np.lib.stride_tricks.as_strided(
    np.frombuffer(binary, np.uint8, offset=start),
    (count, kind.itemsize * width),
    (stride, 1),
    writeable=False,
  )
  values = np.ascontiguousarray(rows).view(kind).reshape(count, width)
  if accessor.get("normalized") and kind.kind in "iu":
    return np.maximum(values.astype(np.float32) / np.iinfo(kind).max, -1.0)
  return values


def _local(node: dict[str, Any]) -> np.ndarray:
  if "matrix" in node:
    return np.array(node["matrix"], np.float64).reshape(4, 4).T
  x, y, z, w = node.get("rotation", (0, 0, 0, 1))
  rotation = np.array(
    [
      [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
      [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
      [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
  )
  matrix = np.eye(4)
  matrix[:3, :3] = rotation * np.array(node.get("scale", (1, 1, 1)))
  matrix[:3, 3] = node.get("translation", (0, 0, 0))
  return matrix


def _world(document: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
  """(transforms [nodes, 4, 4], parents [nodes]) of all nodes."""
  nodes = document.get("nodes", [])
  parents = np.full(len(nodes), -1)
  for i, node in enumerate(nodes):
    parents[node.get("children", [])] = i
  local = np.stack([_local(node) for node in nodes]) if nodes else np.zeros((0, 4, 4))
  return np.asarray(forward_kinematics(local, parents), np.float64), parents


def _primitives(document: dict[str, Any], binary: bytes) -> list[dict[str, np.ndarray]]:
  """One dict of arrays per triangle primitive that a node places."""
  world, _ = _world(document)
  parts = []
  for i, node in enumerate(document.get("nodes", [])):
    if "mesh" not in node:
      continue
    for primitive in document["meshes"][node["mesh"]]["primitives"]:
      if primitive.get("mode", 4) != 4:
        continue  # points and lines have no surface
      found = {k: _accessor(document, binary, v) for k, v in primitive["attributes"].items()}
      points = found["POSITION"].astype(np.float64)
      if "skin" not in node:  # glTF: the node of a skinned mesh does not move it
        points = points @ world[i][:3, :3].T + world[i][:3, 3]
      indices = np.arange(len(points))
      if "indices" in primitive:
        indices = _accessor(document, binary, primitive["indices"])[:, 0]
      parts.append({**found, "POSITION": points, "faces": indices.astype(np.int64).reshape(-1, 3)})
  return parts


def _join(
  parts: list[dict[str, np.ndarray]], joints: dict[str, np.ndarray], texture: np.ndarray | None
) -> Mesh:
  starts = np.cumsum([0, *(len(part["POSITION"]) for part in parts[:-1])])
  faces = np.concatenate([part["faces"] + start for part, start in zip(parts, starts, strict=True)])

  def joined(name: str) -> np.ndarray | None:
    return np.concatenate([p[name] for p in parts]) if all(name in p for p in parts) else None

  uv, colors = joined("TEXCOORD_0"), joined("COLOR_0")
  weights, chosen = joined("WEIGHTS_0"), joined("JOINTS_0")
  dense = None
  if joints and weights is not None and chosen is not None:
    dense = np.zeros((len(weights), len(joints["joints"])))
    np.add.at(dense, (np.arange(len(weights))[:, None], chosen.astype(np.int64)), weights)
    dense /= np.maximum(dense.sum(axis=1, keepdims=True), 1e-12)
  return Mesh(
    vertices=np.concatenate([part["POSITION"] for part in parts]),
    faces=faces,
    uv=None if uv is None else np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1),
    face_uv=None if uv is None else faces,
    vertex_colors=None if colors is None else colors[:, :3],
    texture=texture if uv is not None else None,
    **(joints if dense is not None else {}),
    weights=dense,
  )


def _skin(document: dict[str, Any], binary: bytes) -> dict[str, np.ndarray]:
  """The first skin: inverse bind matrices and the parents of its joints; {} where there is none."""
  if not document.get("skins"):
    return {}
  skin = document["skins"][0]
  nodes, (world, parents) = skin["joints"], _world(document)
  if "inverseBindMatrices" in skin:
    bind = _accessor(document, binary, skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
  else:
    bind = np.linalg.inv(world[nodes])
  place = {node: i for i, node in enumerate(nodes)}
  return {"joints": bind, "parents": np.array([place.get(int(parents[node]), -1) for node in nodes])}


def _texture(document: dict[str, Any], binary: bytes) -> np.ndarray | None:
  """The base colour texture of the first material that has one, float32 [H, W, 3] in [0, 1]."""
  for material in document.get("materials", []):
    chosen = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
    if chosen is None:
      continue
    image = document["images"][document["textures"][chosen["index"]]["source"]]
    if "bufferView" not in image:
      raise ValueError("a texture outside of the GLB file is not read: embed it")
    view = document["bufferViews"][image["bufferView"]]
    start = view.get("byteOffset", 0)
    return read_image(binary[start : start + view["byteLength"]]).astype(np.float32) / 255
  return None


def write_glb(path: str | os.PathLike, mesh: Mesh) -> None:
  """Writes positions, triangles, and texture coordinates with the texture as PNG, or vertex colours.

  glTF has one index per corner, so vertices on a seam of the texture are written once per side.
  """
  from PIL import Image

  faces = np.asarray(mesh.faces)
  positions, colors, uv = np.asarray(mesh.vertices, np.float32), mesh.vertex_colors, None
  if mesh.texture is not None and mesh.uv is not None:
    corners = np.stack([faces.ravel(), np.asarray(mesh.face_uv).ravel()], axis=1)
    unique, inverse = np.unique(corners, axis=0, return_inverse=True)
    faces = inverse.reshape(-1, 3)
    positions = positions[unique[:, 0]]
    flat = np.asarray(mesh.uv, np.float32)[unique[:, 1]]
    uv = np.stack([flat[:, 0], 1 - flat[:, 1]], axis=1)
    colors = None
  chunks: list[bytes] = []
  document: dict[str, Any] = {
    "asset": {"version": "2.0", "generator": "vita_jax"},
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [{"mesh": 0}],
    "bufferViews": [],
    "accessors": [],
  }

  def view(data: bytes) -> int:
    start = sum(map(len, chunks))
    chunks.append(data + b"\0" * (-len(data) % 4))
    document["bufferViews"].append({"buffer": 0, "byteOffset": start, "byteLength": len(data)})
    return len(document["bufferViews"]) - 1

  def accessor(values: np.ndarray, kind: str, **more: Any) -> int:
    component = {"f": 5126, "u": 5125}[values.dtype.kind]
    entry = {
      "bufferView": view(values.tobytes()),
      "componentType": component,
      "count": len(values),
      "type": kind,
    }
    document["accessors"].append({**entry, **more})
    return len(document["accessors"]) - 1

  limits = {"min": positions.min(0).tolist(), "max": positions.max(0).tolist()} if len(positions) else {}
  attributes = {"POSITION": accessor(positions, "VEC3", **limits)}
  primitive: dict[str, Any] = {"attributes": attributes}
  primitive["indices"] = accessor(faces.astype(np.uint32).ravel(), "SCALAR")
  if uv is not None:
    attributes["TEXCOORD_0"] = accessor(uv, "VEC2")
    pixels = np.round(np.clip(np.asarray(mesh.texture)[..., :3], 0, 1) * 255).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    document["images"] = [{"bufferView": view(encoded.getvalue()), "mimeType": "image/png"}]
    document["textures"] = [{"source": 0}]
    flat_look = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 1.0}
    document["materials"] = [{"pbrMetallicRoughness": flat_look}]
    primitive["material"] = 0
  elif colors is not None:
    attributes["COLOR_0"] = accessor(np.asarray(colors, np.float32)[:, :3], "VEC3")
  document["meshes"] = [{"primitives": [primitive]}]
  binary = b"".join(chunks)
  document["buffers"] = [{"byteLength": len(binary)}]
  text = json.dumps(document).encode()
  text += b" " * (-len(text) % 4)
  total = 12 + 8 + len(text) + 8 + len(binary)
  head = struct.pack("<III", _MAGIC, 2, total) + struct.pack("<II", len(text), _JSON)
  write_bytes(path, head + text + struct.pack("<II", len(binary), _BIN) + binary)
