"""Mesh files: what is written is read again, and what is wrong with a file is said in one line."""

import json
import struct

import numpy as np
import pytest

from vita_jax import render

QUAD = """# a square with a texture, and a triangle by negative numbers
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vn 0 0 1
f 1/1/1 2/2/1 3/3/1 4/4/1
f -4/-4 -3/-3 -1/-1
"""


def _mesh(**fields):
  rng = np.random.default_rng(0)
  base = {
    "vertices": rng.normal(size=(7, 3)).astype(np.float32),
    "faces": rng.integers(0, 7, (5, 3)).astype(np.int32),
  }
  return render.check_mesh(render.Mesh(**base, **fields))


def _textured():
  rng = np.random.default_rng(1)
  return _mesh(
    uv=rng.uniform(size=(9, 2)).astype(np.float32),
    face_uv=rng.integers(0, 9, (5, 3)).astype(np.int32),
    texture=(rng.integers(0, 256, (4, 6, 3)) / 255).astype(np.float32),
  )


def _corners(mesh, field="vertices", index="faces"):
  return np.asarray(getattr(mesh, field))[getattr(mesh, index)]


def test_obj_reads_polygons_textures_and_negative_numbers(tmp_path):
  (tmp_path / "a.obj").write_text(QUAD)
  mesh = render.load_mesh(tmp_path / "a.obj")
  np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [0, 1, 3]])
  np.testing.assert_array_equal(mesh.face_uv, mesh.faces)
  assert mesh.vertices.dtype == np.float32 and mesh.faces.dtype == np.int32


@pytest.mark.parametrize("ending", ["obj", "ply", "glb", "npz"])
@pytest.mark.parametrize("kind", ["plain", "colors", "texture"])
def test_what_is_written_is_read_again(ending, kind, tmp_path):
  colors = (np.random.default_rng(2).integers(0, 256, (7, 3)) / 255).astype(np.float32)
  mesh = {"plain": _mesh, "colors": lambda: _mesh(vertex_colors=colors), "texture": _textured}[kind]()
  render.save_mesh(tmp_path / f"a.{ending}", mesh)
  again = render.load_mesh(tmp_path / f"a.{ending}")
  np.testing.assert_allclose(_corners(again), _corners(mesh), atol=1e-6)
  if kind == "colors":
    found, expected = _corners(again, "vertex_colors"), _corners(mesh, "vertex_colors")
    np.testing.assert_allclose(found, expected, atol=1e-6)
  if kind == "texture" and ending != "ply":
    np.testing.assert_allclose(_corners(again, "uv", "face_uv"), _corners(mesh, "uv", "face_uv"), atol=1e-6)
  if kind == "texture" and ending in ("glb", "npz"):
    np.testing.assert_allclose(again.texture, mesh.texture, atol=1e-6)


@pytest.mark.parametrize("order", ["ascii", "binary_big_endian"])
def test_ply_in_other_formats(order, tmp_path):
  head = (
    f"ply\nformat {order} 1.0\ncomment x\nelement vertex 4\n"
    "property double x\nproperty double y\nproperty double z\n"
    "element face 1\nproperty list uchar int vertex_index\nend_header\n"
  )
  points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
  if order == "ascii":
    body = "".join(f"{x} {y} {z}\n" for x, y, z in points).encode() + b"4 0 1 2 3\n"
  else:
    body = b"".join(struct.pack(">3d", *p) for p in points) + struct.pack(">B4i", 4, 0, 1, 2, 3)
  (tmp_path / "a.ply").write_bytes(head.encode() + body)
  mesh = render.load_mesh(tmp_path / "a.ply")
  np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])
  np.testing.assert_array_equal(mesh.vertices, points)
  (tmp_path / "b.ply").write_bytes((head.encode() + body)[:-6])
  with pytest.raises(ValueError, match="b.ply is damaged or cut short"):
    render.load_mesh(tmp_path / "b.ply")


def _glb(document, binary):
  text = json.dumps(document).encode()
  text += b" " * (-len(text) % 4)
  total = 28 + len(text) + len(binary)
  head = struct.pack("<III", 0x46546C67, 2, total) + struct.pack("<II", len(text), 0x4E4F534A)
  return head + text + struct.pack("<II", len(binary), 0x004E4942) + binary


def _arm():
  """Two joints along y, one vertex bound to each and one to both halves, placed by a node that is skinned."""
  points = np.float32([[0, 0, 0], [0.1, 1, 0], [0, 2, 0]])
  bind = np.stack([np.eye(4), np.eye(4)]).astype(np.float32)
  bind[1, 1, 3] = -1  # the second joint sits at y = 1
  arrays = [
    points,
    np.uint16([0, 1, 2, 0]),  # padded to four bytes
    np.uint8([[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]),
    np.float32([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [1, 0, 0, 0]]),
    bind.transpose(0, 2, 1),
  ]
  chunks, views = b"", []
  for x in arrays:
    views.append({"buffer": 0, "byteOffset": len(chunks), "byteLength": x.nbytes})
    chunks += x.tobytes()
  kinds = [(5126, 3, "VEC3"), (5123, 3, "SCALAR"), (5121, 3, "VEC4"), (5126, 3, "VEC4"), (5126, 2, "MAT4")]
  accessors = [
    {"bufferView": i, "componentType": c, "count": n, "type": t} for i, (c, n, t) in enumerate(kinds)
  ]
  attributes = {"POSITION": 0, "JOINTS_0": 2, "WEIGHTS_0": 3}
  return {
    "asset": {"version": "2.0"},
    "nodes": [{"mesh": 0, "skin": 0}, {"children": [2]}, {"translation": [0, 1, 0]}],
    "meshes": [{"primitives": [{"attributes": attributes, "indices": 1}]}],
    "skins": [{"joints": [1, 2], "inverseBindMatrices": 4}],
    "accessors": accessors,
    "bufferViews": views,
    "buffers": [{"byteLength": len(chunks)}],
  }, chunks


def test_a_skin_bends_the_mesh_it_is_read_with(tmp_path):
  (tmp_path / "arm.glb").write_bytes(_glb(*_arm()))
  mesh = render.load_mesh(tmp_path / "arm.glb")
  np.testing.assert_array_equal(mesh.parents, [-1, 0])
  rest = render.rest_transforms(mesh)
  np.testing.assert_allclose(render.skin(mesh, rest).vertices, mesh.vertices, atol=1e-6)
  local = render.local_transforms(rest, mesh.parents)
  np.testing.assert_allclose(render.forward_kinematics(local, mesh.parents), rest, atol=1e-6)
  bent = np.array(local)
  bent[1, :3, :3] = render.rotation_of(np.float32([0, 0, np.pi / 2])) @ bent[1, :3, :3]
  moved = render.skin(mesh, render.forward_kinematics(bent, mesh.parents)).vertices
  # The last vertex turns by 90 degrees about (0, 1, 0); the one in the middle is half way.
  np.testing.assert_allclose(moved, [[0, 0, 0], [0.05, 1.05, 0], [-1, 1, 0]], atol=1e-6)


def test_joints_in_any_order_are_chained_from_their_roots():
  parents = [2, 2, 4, -1, -1, 0, 3, 5]
  local = np.random.default_rng(0).normal(0, 1, (8, 4, 4)).astype(np.float32)
  found = np.asarray(render.forward_kinematics(local, np.array(parents)))
  for j in range(8):
    expected, above = local[j], parents[j]
    while above >= 0:
      expected, above = local[above] @ expected, parents[above]
    np.testing.assert_allclose(found[j], expected, rtol=1e-4, atol=1e-4)
  with pytest.raises(ValueError, match="the joints' parents form a circle"):
    render.forward_kinematics(local, np.array([1, 0, -1, 2, 2, 2, 2, 2]))


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.obj", "v 0 0\n", "must all have 3 numbers"),
    ("a.obj", "v 0 0 0\nf 1 2 3\n", r"faces must be in 0 \.\. 0, found 0 \.\. 2"),
    ("a.obj", "v 0 0 0\nf 1 0 1\n", "line 2: '0' names no vertex"),
    ("a.obj", "v 0 0 nan\n", "vertex 0 is not finite"),
    ("a.obj", "v 0 0 2e6\n", "is beyond 1e"),
    ("a.obj", "v 0 0 x\n", "line 1: could not convert"),
    ("a.ply", "obj", "is not a PLY file"),
    (
      "a.ply",
      "ply\nformat ascii 1.0\nelement vertex 9\nproperty float x\nend_header\n0\n",
      "9 rows of 'vertex'",
    ),
    ("a.glb", "nothing here, really, but long enough", "is not a GLB file"),
    ("a.stl", "solid", "no mesh that can be read here: use .obj, .ply, .glb, .npz"),
  ],
)
def test_a_bad_file_is_named_in_one_line(name, content, message, tmp_path):
  (tmp_path / name).write_text(content)
  with pytest.raises(ValueError, match=message) as error:
    render.load_mesh(tmp_path / name)
  assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"extensionsRequired": ["KHR_draco_mesh_compression"]}, "needs the glTF extensions KHR_draco"),
    ({"nodes": []}, "has no triangles"),
    ({"bufferViews": []}, "is damaged: IndexError"),
    (
      {"accessors": [{"bufferView": 0, "componentType": 5126, "count": 10**9, "type": "VEC3"}] * 5},
      "beyond the file",
    ),
  ],
)
def test_a_bad_glb_is_named_in_one_line(change, message, tmp_path):
  document, binary = _arm()
  (tmp_path / "a.glb").write_bytes(_glb(document | change, binary))
  with pytest.raises(ValueError, match=message) as error:
    render.load_mesh(tmp_path / "a.glb")
  assert "a.glb" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="give a mesh"):
    render.load_mesh(tmp_path / "no.obj")
