"""PLY: reading and writing triangle meshes with colours, ASCII and binary."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vita_jax.base.files import write_bytes
from vita_jax.render.mesh import Mesh, check_mesh

_TYPES = {
  **dict.fromkeys(("char", "int8"), "i1"),
  **dict.fromkeys(("uchar", "uint8"), "u1"),
  **dict.fromkeys(("short", "int16"), "i2"),
  **dict.fromkeys(("ushort", "uint16"), "u2"),
  **dict.fromkeys(("int", "int32"), "i4"),
  **dict.fromkeys(("uint", "uint32"), "u4"),
  **dict.fromkeys(("float", "float32"), "f4"),
  **dict.fromkeys(("double", "float64"), "f8"),
}
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


class _Element(NamedTuple):
  name: str
  rows: int
  properties: list[tuple[str, str, str]]  # (name, type, type of the count of a list, or "")


def read_ply(path: str | os.PathLike) -> Mesh:
  """Reads x, y, z and red, green, blue of vertices, and the polygons of faces as fans of triangles.

  Raises:
    ValueError: a file that is no PLY, is cut short, or a mesh that `check_mesh` refuses.
  """
  content, name = Path(path).read_bytes(), os.fspath(path)
  order, elements, body = _header(content, name)
  try:
    found = (_read_ascii if order == "" else _read_binary)(body, elements, order)
  except (ValueError, IndexError) as error:
    raise ValueError(f"{name} is damaged or cut short: {error}") from error
  vertex, polygons = found.get("vertex", {}), found.get("face", {})
  if not {"x", "y", "z"} <= vertex.keys():
    raise ValueError(f"{name} has no vertices with x, y and z")
  lists = polygons.get("vertex_indices", polygons.get("vertex_index", []))
  triangles = [(p[0], p[i], p[i + 1]) for p in lists for i in range(1, len(p) - 1)]
  colors = None
  if {"red", "green", "blue"} <= vertex.keys():
    columns = [vertex[c] for c in ("red", "green", "blue")]
    scale = 255.0 if columns[0].dtype.kind in "iu" else 1.0
    colors = np.stack(columns, axis=1) / scale
  mesh = Mesh(
    vertices=np.stack([vertex[c] for c in "xyz"], axis=1).astype(np.float64),
    faces=np.array(triangles, np.int64).reshape(-1, 3),
    vertex_colors=colors,
  )
  return check_mesh(mesh, name=name)


def _header(content: bytes, name: str) -> tuple[str, list[_Element], bytes]:
  head, end, body = content.partition(b"end_header")
  lines = head.decode("ascii", "replace").splitlines()
  if not end or not lines or lines[0].strip() != "ply":
    raise ValueError(f"{name} is not a PLY file")
  order, elements = None, []
  for line in lines[1:]:
    words = line.split()
    if words[:1] == ["format"] and len(words) > 1 and words[1] in _FORMATS:
      order = _FORMATS[words[1]]
    elif words[:1] == ["element"] and len(words) == 3 and words[2].isdigit():
      elements.append(_Element(words[1], int(words[2]), []))
    elif words[:1] == ["property"] and elements:
      kinds = words[2:4] if words[1] == "list" else words[1:2]
      if any(kind not in _TYPES for kind in kinds):
        raise ValueError(f"{name} has a property of an unknown type: '{line.strip()}'")
      listed = _TYPES[kinds[0]] if words[1] == "list" else ""
      elements[-1].properties.append((words[-1], _TYPES[kinds[-1]], listed))
  if order is None:
    raise ValueError(f"{name} does not say its format: ascii, binary_little_endian or binary_big_endian")
  return order, elements, body.partition(b"\n")[2]


def _read_ascii(body: bytes, elements: list[_Element], order: str) -> dict:
  del order
  lines, found, at = body.decode("ascii", "replace").splitlines(), {}, 0
  for element in elements:
    if element.rows > len(lines) - at:
      raise ValueError(f"{element.rows} rows of '{element.name}' are declared, {len(lines) - at} are there")
    rows = [line.split() for line in lines[at : at + element.rows]]
    at += element.rows
    columns: dict[str, list] = {name: [] for name, _, _ in element.properties}
    for row in rows:
      place = 0
      for name, _, listed in element.properties:
        if listed:
          length = int(row[place])
          if length > len(row) - place - 1:
            raise ValueError(f"a list of {length} numbers has {len(row) - place - 1}")
          columns[name].append([int(x) for x in row[place + 1 : place + 1 + length]])
          place += 1 + length
        else:
          columns[name].append(float(row[place]))
          place += 1
    kinds = {name: (kind, listed) for name, kind, listed in element.properties}
    found[element.name] = {
      name: values if kinds[name][1] else np.array(values).astype(kinds[name][0])
      for name, values in columns.items()
    }
  return found


def _read_binary(body: bytes, elements: list[_Element], order: str) -> dict:
  found: dict[str, dict] = {}
  at = 0
  for element in elements:
    if not any(listed for _, _, listed in element.properties):
      record = np.dtype([(name, order + kind) for name, kind, _ in element.properties])
      if at + element.rows * record.itemsize > len(body):
        raise ValueError(f"'{element.name}' ends beyond the file")
      table = np.frombuffer(body, record, element.rows, at)
      at += element.rows * record.itemsize
      found[element.name] = {name: table[name] for name, _, _ in element.properties}
      continue
    columns: dict[str, list] = {name: [] for name, _, _ in element.properties}
    for _ in range(element.rows):
      for name, kind, listed in element.properties:
        length = 1
        if listed:
          length = int(np.frombuffer(body, order + listed, 1, at)[0])
          at += np.dtype(listed).itemsize
        values = np.frombuffer(body, order + kind, length, at)
        at += length * np.dtype(kind).itemsize
        columns[name].append(values.tolist() if listed else values[0])
    found[element.name] = columns
  return found


def write_ply(path: str | os.PathLike, mesh: Mesh) -> None:
  """Writes vertices, 8-bit vertex colours and triangles as binary PLY."""
  fields = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
  names = {"<f4": "float", "u1": "uchar"}
  if mesh.vertex_colors is not None:
    fields += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
  table = np.zeros(len(mesh.vertices), fields)
  for i, name in enumerate("xyz"):
    table[name] = np.asarray(mesh.vertices)[:, i]
  if mesh.vertex_colors is not None:
    for i, name in enumerate(("red", "green", "blue")):
      table[name] = np.round(np.clip(np.asarray(mesh.vertex_colors)[:, i], 0, 1) * 255)
  triangles = np.zeros(len(mesh.faces), [("n", "u1"), ("v", "<i4", 3)])
  triangles["n"], triangles["v"] = 3, np.asarray(mesh.faces)
  head = [
    "ply",
    "format binary_little_endian 1.0",
    f"element vertex {len(table)}",
    *(f"property {names[kind]} {name}" for name, kind in fields),
    f"element face {len(triangles)}",
    "property list uchar int vertex_indices",
    "end_header\n",
  ]
  write_bytes(path, "\n".join(head).encode() + table.tobytes() + triangles.tobytes())
