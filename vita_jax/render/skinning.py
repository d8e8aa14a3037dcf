"""Linear blend skinning: a mesh that follows the joints of a skeleton."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.render.mesh import Array, Mesh


def skin(mesh: Mesh, transforms: jax.Array) -> Mesh:
  """Moves the vertices with the joints: v' = sum_j weight_vj (G_j B_j) v.

  B_j is the inverse bind matrix `mesh.joints[j]` and G_j the joint's transform in the world, so transforms
  equal to the inverses of the B_j (`rest_transforms`) leave the mesh as it is. Differentiable in both.

  Args:
    mesh: with joints [J, 4, 4] and weights [V, J].
    transforms: float32 [J, 4, 4]; see `forward_kinematics`.

  Raises:
    ValueError: a mesh without joints or weights, or another number of joints.
  """
  if mesh.joints is None or mesh.weights is None:
    raise ValueError("skin needs a mesh with joints and weights: a GLB file with a skin has both")
  if transforms.shape != mesh.joints.shape:
    raise ValueError(f"transforms {list(transforms.shape)} must be {list(mesh.joints.shape)}, one per joint")
  moves = transforms @ mesh.joints
  blended = jnp.einsum("vj,jab->vab", jnp.asarray(mesh.weights), moves[:, :3])
  vertices = jnp.einsum("vab,vb->va", blended[:, :, :3], jnp.asarray(mesh.vertices)) + blended[:, :, 3]
  return mesh._replace(vertices=vertices)


def rest_transforms(mesh: Mesh) -> np.ndarray:
  """Returns the joints' transforms in the pose in which the mesh was bound, float32 [J, 4, 4]."""
  return np.linalg.inv(np.asarray(mesh.joints, np.float64)).astype(np.float32)


def forward_kinematics(local: Array, parents: np.ndarray) -> jax.Array:
  """Chains local transforms along the skeleton: G_j = G_parent(j) local_j.

  Args:
    local: float32 [J, 4, 4], each joint's transform relative to its parent's.
    parents: int [J] on the host, -1 for a root; in any order.

  Returns:
    float32 [J, 4, 4] in the world.

  Raises:
    ValueError: parents that form a circle.
  """
  parents, local = np.asarray(parents), jnp.asarray(local)
  place: dict[int, int] = {-1: -1}  # of a joint among the ones that are done
  levels: list[jax.Array] = []
  while len(place) <= len(parents):
    ready = [j for j in range(len(parents)) if j not in place and max(int(parents[j]), -1) in place]
    if not ready:
      raise ValueError("the joints' parents form a circle")
    own = local[np.array(ready)]
    if levels:  # the joints of one level are one product: programs of many joints compile slowly
      above = jnp.concatenate(levels)[np.array([place[int(parents[j])] for j in ready])]
      own = above @ own
    place |= {j: len(place) - 1 + i for i, j in enumerate(ready)}
    levels.append(own)
  return jnp.concatenate(levels)[np.array([place[j] for j in range(len(parents))])] if levels else local


def local_transforms(world: np.ndarray, parents: np.ndarray) -> np.ndarray:
  """Inverts `forward_kinematics`: local_j = G_parent(j)^-1 G_j, float32 [J, 4, 4]."""
  world = np.asarray(world, np.float64)
  local = [
    w if p < 0 else np.linalg.inv(world[p]) @ w for w, p in zip(world, np.asarray(parents), strict=True)
  ]
  return np.stack(local).astype(np.float32)


def rotation_of(axis_angle: jax.Array) -> jax.Array:
  """Computes rotation matrices [..., 3, 3] from axis times angle [..., 3] in radians (Rodrigues).

  Differentiable everywhere, at 0 too.
  """
  square = jnp.sum(axis_angle**2, axis=-1)[..., None, None]
  small = square < 1e-8
  safe = jnp.where(small, 1.0, square)
  angle = jnp.sqrt(safe)
  first = jnp.where(small, 1.0 - square / 6, jnp.sin(angle) / angle)
  second = jnp.where(small, 0.5 - square / 24, (1.0 - jnp.cos(angle)) / safe)
  x, y, z = (axis_angle[..., i] for i in range(3))
  zero = jnp.zeros_like(x)
  cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
  return jnp.eye(3) + first * cross + second * (cross @ cross)
