"""Names of the leaves of a tree: '/'-joined dict keys, field names and indices, the same everywhere."""

from __future__ import annotations

from typing import Any

import jax


def path_name(path: tuple[Any, ...]) -> str:
  """Returns the '/'-joined name of a key path, e.g. `params/dense_0/kernel`."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree: Any) -> dict[str, Any]:
  """Returns '/'-joined name -> leaf, in the order of `jax.tree.leaves`.

  Examples:
    >>> named_leaves({"a": {"b": 1}, "c": (2, 3)})
    {'a/b': 1, 'c/0': 2, 'c/1': 3}
  """
  return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
