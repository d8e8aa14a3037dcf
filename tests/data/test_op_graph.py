"""Operations of a network file come after those that they read, in files of any size."""

import numpy as np
import pytest

from vita_jax.data.op_graph import Op, OpGraph, Refused, convolutions, in_order


def _op(name, *inputs, kind="Add"):
  return Op(kind, name, inputs, (name,), {})


def test_order_is_kept_where_it_serves_and_changed_where_not():
  ops = [_op("a", "x"), _op("d", "c", "b"), _op("b", "a"), _op("c", "b", ""), _op("e", "a")]
  assert [op.name for op in in_order(ops, ["x"], "toy")] == ["a", "b", "c", "d", "e"]


def test_a_long_chain_needs_no_recursion():
  ops = [_op(f"n{i}", f"n{i - 1}") for i in range(1, 5000)][::-1]
  assert [op.name for op in in_order(ops, ["n0"], "toy")][:2] == ["n1", "n2"]


def test_what_nothing_makes_and_circles_are_refused():
  with pytest.raises(Refused, match="toy is damaged: a reads 'z', which nothing makes"):
    in_order([_op("a", "z")], ["x"], "toy")
  with pytest.raises(Refused, match="which depends on itself"):
    in_order([_op("a", "c"), _op("b", "a"), _op("c", "b")], ["x"], "toy")


def test_a_bias_is_a_vector_that_is_added_next_and_nothing_else():
  kernel, bias = np.ones((1, 1, 2, 3), np.float32), np.ones(3, np.float32)
  tensors = {"k": kernel, "b": bias, "m": np.ones((1, 3), np.float32)}
  ops = (
    _op("one", "x", "k", kind="Conv2D"),
    _op("one+b", "b", "one"),
    _op("two", "x", "k", kind="Conv2D"),
    _op("two+m", "two", "m"),
    _op("three", "x", "one", kind="Conv2D"),  # its kernel is computed
  )
  found = convolutions(OpGraph("toy", tensors, ops, ("x",), ("three",)))
  assert [(layer.name, layer.bias is None) for layer in found] == [("one", False), ("two", True)]
