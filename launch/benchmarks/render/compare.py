"""The renderer: visibility, pictures, gradients of textures and silhouettes, by size, beside Mitsuba 3."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.measure import Cost, Worker, interleaved, print_table, worker
from benchmarks.render.shape import body

# Of steps.py, with the side of the picture and the name of the row in vita_jax/render/README.md.
KINDS = (
  ("visibility", 256, "visibility"),
  ("visibility", 512, "visibility"),
  ("picture", 256, "picture"),
  ("texture, cached", 256, "texture gradient, visibility cached"),
  ("texture, recomputed", 256, "texture gradient, visibility recomputed"),
  ("silhouette", 128, "silhouette with vertex gradient"),
  ("16 textures, alone", 256, "16 texture gradients, recomputed, one call each"),
  ("16 textures", 256, "the same by `jax.vmap`"),
  ("16 textures, whole", 256, "by `jax.vmap` of `view_by_view` of the gradient"),
  ("16 silhouettes, alone", 128, "16 silhouettes with vertex gradient, one call each"),
  ("16 silhouettes", 128, "the same by `jax.vmap`"),
  ("16 silhouettes, whole", 128, "by `jax.vmap` of `view_by_view` of the gradient"),
)
# Of mitsuba_steps.py, with the kinds above that they are compared with.
PEERS = (
  ("picture", 256, ("picture",)),
  ("texture", 256, ("texture, cached", "texture, recomputed")),
  ("texture, mi.render", 256, ("texture, cached", "texture, recomputed")),
  ("silhouette, 1 sample", 128, ("silhouette",)),
  ("silhouette, 16 samples", 128, ("silhouette",)),
)
# Names in README.md, in its order: whole renderings first.
PEER_ROWS = {
  "texture, mi.render": "texture gradient by `mi.render`",
  "texture": "texture gradient by bare rays",
  "picture": "picture by bare rays",
  "silhouette, 1 sample": "silhouette, projective integrator, 1 sample per pixel",
  "silhouette, 16 samples": "silhouette, projective integrator, 16 samples",
}


def main(*, sizes: Sequence[int] = (1_000, 27_000, 250_000), repeats: int = 5, seconds: float = 2.0) -> None:
  """Prints costs by the number of faces, and of the human figure where its file is; beside Mitsuba's.

  Both come twice: aligned, and as the tables of vita_jax/render/README.md.
  """
  shapes = [*map(str, sizes), *(["body"] if body() is not None else [])]
  measured, word = {}, ""
  for shape in shapes:
    with contextlib.ExitStack() as stack:
      workers = {
        f"{kind} {side}": stack.enter_context(worker("render.steps", kind, shape, side))
        for kind, side, _ in KINDS
      }
      faces = f"{next(iter(workers.values())).facts['faces']:,}" + (" (body)" if shape == "body" else "")
      peers, word = _peers(stack, shape)
      measured[faces] = interleaved({**workers, **peers}, repeats=repeats, seconds=seconds)
  _print_aligned(measured)
  if word:
    print(f"without a comparison to Mitsuba: {word}")
  print("\nfor vita_jax/render/README.md, milliseconds of CPU time:\n")
  print("\n".join(cost_rows(measured)))
  for faces, costs in measured.items():
    if not word:
      print(f"\nMitsuba, faces: {faces}\n\n" + "\n".join(peer_rows(costs)))


def _print_aligned(measured: Mapping[str, Mapping[str, Cost]]) -> None:
  rows = [["faces", "what", "pixels", "wall ms", "CPU ms"]]
  ratios = [["Mitsuba / ours", "what", "pixels", "wall ms", "CPU ms", "wall", "CPU"]]
  for faces, costs in measured.items():
    for kind, side, _ in KINDS:
      rows.append([faces, kind, f"{side} x {side}", *_milliseconds(costs[f"{kind} {side}"])])
    for kind, side, name, peer, own in _pairs(costs):
      numbers = [f"{peer.wall / own.wall:.2f}", f"{peer.cpu / own.cpu:.2f}"]
      ratios.append([faces, f"{kind} / {name}", f"{side} x {side}", *_milliseconds(peer), *numbers])
  print_table("256 x 256 texture, perspective camera, two lights, flat shading", rows)
  print("  a tube around a trefoil knot, and a human figure where human/humans.npz is at hand")
  print("  texture, silhouette: value and gradient (to texture, to vertices)")
  print("  16: views around the mesh by jax.vmap; whole: of view_by_view; alone: one call for each")
  if len(ratios) > 1:
    print_table("Mitsuba 3 (llvm_ad_rgb): milliseconds of its own, and as multiples of ours", ratios)
    print("  mi.render: a film, shadows, and light by one random ray, as a scene is usually rendered")
    print("  picture, texture: bare rays, one per pixel, same light, no shadows, its acceleration tree kept")
    print("  silhouette: direct_projective, samples per pixel; new vertices in each step")


def cost_rows(measured: Mapping[str, Mapping[str, Cost]]) -> list[str]:
  """Returns the table of costs in Markdown: faces -> "kind side" -> cost; with 16 views in single views."""
  rows = [
    _cells("", "pixels", *(faces if "body" in faces else f"{faces} faces" for faces in measured)),
    _cells(*["---"] * (2 + len(measured))),
  ]
  for kind, side, name in KINDS:
    each = (costs[f"{kind} {side}"].cpu for costs in measured.values())
    rows.append(_cells(name, f"{side} x {side}", *map(_digits, each)))
    alone = f"{kind.removesuffix(', whole')}, alone {side}"
    if alone in next(iter(measured.values())):
      ratios = (16 * costs[f"{kind} {side}"].cpu / costs[alone].cpu for costs in measured.values())
      rows.append(_cells("in single views", f"{side} x {side}", *(f"{ratio:.1f}" for ratio in ratios)))
  return rows


def peer_rows(costs: Mapping[str, Cost]) -> list[str]:
  """Returns the table of Mitsuba's costs in Markdown, of one mesh: its time, and as a multiple of ours."""
  rows = [_cells("Mitsuba", "CPU ms", "ours", "wall", "CPU"), _cells(*["---"] * 5)]
  pairs, last = list(_pairs(costs)), ""
  for row in PEER_ROWS:
    for kind, _, name, peer, own in pairs:
      if kind == row:
        first = ("", "") if kind == last else (PEER_ROWS[kind], _digits(peer.cpu))
        ours = name.replace("texture, ", "visibility ")
        rows.append(_cells(*first, ours, f"{peer.wall / own.wall:.2f}", f"{peer.cpu / own.cpu:.2f}"))
        last = kind
  return rows


def _pairs(costs: Mapping[str, Cost]) -> Iterator[tuple[str, int, str, Cost, Cost]]:
  """(Mitsuba's kind, side, our kind, its cost, our cost), where it was measured."""
  for kind, side, ours in PEERS:
    for name in ours:
      if f"Mitsuba, {kind}" in costs:
        yield kind, side, name, costs[f"Mitsuba, {kind}"], costs[f"{name} {side}"]


def _cells(*cells: str) -> str:
  return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _digits(seconds: float) -> str:
  """Milliseconds with three digits, or all before the point."""
  value = 1000 * seconds
  return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


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
