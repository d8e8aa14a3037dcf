"""The renderer: visibility, pictures, gradients of textures and silhouettes, by size, beside Mitsuba 3."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from benchmarks.measure import Cost, Worker, interleaved, print_table, worker

KINDS = (
  ("visibility", 256),
  ("visibility", 512),
  ("picture", 256),
  ("texture, cached", 256),
  ("texture, recomputed", 256),
  ("silhouette", 128),
  ("16 silhouettes", 128),
)
# Of mitsuba_steps.py, with the kinds above that they are compared with.
PEERS = (
  ("picture", 256, ("picture",)),
  ("texture", 256, ("texture, cached", "texture, recomputed")),
  ("texture, mi.render", 256, ("texture, cached", "texture, recomputed")),
  ("silhouette, 1 sample", 128, ("silhouette",)),
  ("silhouette, 16 samples", 128, ("silhouette",)),
)


def main(*, shapes: Sequence[str], repeats: int, seconds: float) -> None:
  """Prints costs, and, where Mitsuba is installed, its costs by ours; `shapes` of `shape.shape`."""
  rows = [["faces", "what", "pixels", "wall ms", "CPU ms"]]
  ratios = [["Mitsuba / ours", "what", "pixels", "wall ms", "CPU ms", "wall", "CPU"]]
  word = ""
  for shape in shapes:
    with contextlib.ExitStack() as stack:
      workers = {
        f"{kind} {side}": stack.enter_context(worker("render.steps", kind, shape, side))
        for kind, side in KINDS
      }
      faces = f"{next(iter(workers.values())).facts['faces']:,}" + (" (body)" if shape == "body" else "")
      peers, word = _peers(stack, shape)
      costs = interleaved({**workers, **peers}, repeats=repeats, seconds=seconds)
    for kind, side in KINDS:
      rows.append([faces, kind, f"{side} x {side}", *_milliseconds(costs[f"{kind} {side}"])])
    for kind, side, ours in PEERS if peers else ():
      peer = costs[f"Mitsuba, {kind}"]
      for name in ours:
        own = costs[f"{name} {side}"]
        numbers = [f"{peer.wall / own.wall:.2f}", f"{peer.cpu / own.cpu:.2f}"]
        ratios.append([faces, f"{kind} / {name}", f"{side} x {side}", *_milliseconds(peer), *numbers])
  print_table("256 x 256 texture, perspective camera, two lights, flat shading", rows)
  print("  a tube around a trefoil knot, and a human figure where human/humans.npz is at hand")
  print("  texture, silhouette: value and gradient (to texture, to vertices); 16: views by jax.vmap")
  if len(ratios) > 1:
    print_table("Mitsuba 3 (llvm_ad_rgb): milliseconds of its own, and as multiples of ours", ratios)
    print("  picture, texture: one ray per pixel, same light, no shadows, its acceleration tree kept")
    print("  mi.render: a film, shadows, and light by one random ray, as a scene is usually rendered")
    print("  silhouette: direct_projective, samples per pixel; new vertices in each step")
  if word:
    print(f"without a comparison to Mitsuba: {word}")


def _peers(stack: contextlib.ExitStack, shape: str) -> tuple[dict[str, Worker], str]:
  """Mitsuba's workers by name, or none and a word on why."""
  try:
    return {
      f"Mitsuba, {kind}": stack.enter_context(worker("render.mitsuba_steps", kind, shape, side))
      for kind, side, _ in PEERS
    }, ""
  except RuntimeError as error:
    return {}, str(error)


def _milliseconds(cost: Cost) -> list[str]:
  return [f"{1000 * cost.wall:.1f}", f"{1000 * cost.cpu:.1f}"]
