"""Graphs of tables: which groups may be empty."""

from vita_jax.nn.channels import graph_of
from vita_jax.nn.layers import Layer


def _groups(*, clipped=False, norm="plain"):
  layers = (
    Layer("stem", 3, 4, 1, norm="affine"),
    Layer("a", 4, 4, 3, padding=1, norm="affine", activation="relu"),
    Layer("b", 4, 4, 3, padding=1, norm="affine", activation="relu"),
    Layer("c", 4, 4, 3, padding=1, norm=norm, add="stem", clipped=clipped),
    Layer("head", 4, 3, 1),
  )
  return {group.name: group for group in graph_of(layers)}


def test_only_what_the_last_convolution_of_a_branch_takes_may_be_empty():
  """Without a's channels b still gives the constants of its shift, which zeros at the border disturb."""
  groups = _groups()
  assert groups["b"].minimum == 0 and groups["b"].branch == ("a", "b", "c")
  assert groups["a"].minimum == 1 and groups["a"].branch == () and groups["a"].bypassed
  # A shift, or the clip of the sum, would stay where the branch is gone.
  assert _groups(norm="affine")["b"].minimum == _groups(clipped=True)["b"].minimum == 1
