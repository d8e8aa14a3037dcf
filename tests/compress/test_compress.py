"""Masks, magnitude pruning, controls, statistics and ticket files, on any tree and on the shapes of BERT."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax import compress
from vita_jax.compress.magnitude import smallest
from vita_jax.nn.bert import PRUNABLE, BertConfig, shapes


@pytest.fixture(scope="module")
def tree():
  """Two layers of weights beside what is never pruned; a list and a tuple among the containers."""
  rng = np.random.default_rng(0)

  def draw(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  layers = [{"kernel": draw(7, 11), "bias": draw(11)} for _ in range(2)]
  return {"layers": layers, "head": ({"kernel": draw(11, 3)}, draw(5)), "table": {"embedding": draw(9, 4)}}


SELECT = r"layers/\d/kernel$|head/0/kernel$"
SIZE = 2 * 77 + 33


def _zeros(masks):
  return sum(int((~np.asarray(m)).sum()) for m in masks.values())


def _equal(first, second):
  assert first.keys() == second.keys()
  for name in first:
    np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_the_smallest_third_of_a_small_matrix_goes():
  weights = {"w": jnp.array([[0.5, -0.1, 0.3], [-0.9, 0.2, 0.05]])}
  masks = compress.magnitude_masks(weights, 1 / 3, select="w")
  np.testing.assert_array_equal(masks["w"], [[1, 0, 1], [1, 1, 0]])


def test_global_pruning_is_that_of_one_sorted_list_and_layers_are_not(tree):
  masks = compress.magnitude_masks(tree, 0.4, select=SELECT)
  weights = compress.masks.chosen(tree, SELECT)
  assert set(masks) == {"layers/0/kernel", "layers/1/kernel", "head/0/kernel"}
  pooled = np.concatenate([np.abs(np.ravel(x)) for x in weights.values()])
  threshold = np.sort(pooled)[round(0.4 * SIZE)]
  for name, x in weights.items():
    np.testing.assert_array_equal(masks[name], np.abs(x) >= threshold)
  by_layer = compress.magnitude_masks(tree, 0.4, select=SELECT, scope="layer")
  assert [_zeros({0: m}) for m in by_layer.values()] == [round(0.4 * np.size(m)) for m in by_layer.values()]
  assert any(not np.array_equal(by_layer[name], masks[name]) for name in masks)
  assert compress.sparsity(masks) == pytest.approx(round(0.4 * SIZE) / SIZE, abs=1e-12)


def test_on_the_device_and_on_the_host_the_same_weights_go(tree):
  """Bisection under jit and vmap against numpy's partition: ties, masks so far, none, all."""
  rng = np.random.default_rng(1)
  coarse = jax.tree.map(lambda x: jnp.round(x * 2) / 2, tree)  # many ties, zeros of both signs
  weights = {n: jnp.abs(x) for n, x in compress.masks.chosen(coarse, SELECT).items()}
  scores = {n: np.asarray(x).view(np.uint32) for n, x in weights.items()}
  some = {n: jnp.asarray(rng.random(x.shape) < 0.7) for n, x in scores.items()}
  on_device = jax.jit(lambda scores, masks, n: jax.vmap(lambda k: smallest(scores, masks, k))(n))
  held = SIZE - _zeros(some)
  numbers = jnp.array([0, 1, 2, 60, held - 1, held])
  found = on_device({n: jnp.asarray(x) for n, x in scores.items()}, some, numbers)
  for i, n in enumerate(numbers.tolist()):
    expected = smallest(scores, some, n)
    assert _zeros(expected) - _zeros(some) == n
    _equal({name: x[i] for name, x in found.items()}, expected)
    assert all((np.asarray(expected[name]) <= np.asarray(some[name])).all() for name in some)


def test_equal_weights_go_in_order_and_exactly_as_many():
  weights = {"a": jnp.ones((3, 4)), "b": jnp.ones((2, 4))}
  masks = compress.magnitude_masks(weights, 0.7, select=".")
  np.testing.assert_array_equal(np.concatenate([np.ravel(m) for m in masks.values()]), np.arange(20) >= 14)


def test_rounds_are_monotone_though_weights_change(tree):
  masks, rng = compress.full_masks(tree, select=SELECT), np.random.default_rng(2)
  zeros = compress.zeros_after(SIZE, 10)
  for before, after in zip(zeros, zeros[1:], strict=False):
    weights = {n: jnp.asarray(rng.normal(size=m.shape), jnp.float32) for n, m in masks.items()}
    new = compress.prune(weights, masks, after - before)
    assert _zeros(new) == after
    assert all((np.asarray(new[n]) <= np.asarray(masks[n])).all() for n in masks)
    masks = new
  assert not any(np.asarray(m).any() for m in masks.values())


def test_schedules_have_the_papers_numbers():
  sizes = {"/".join(path): int(np.prod(shape)) for path, shape in shapes(BertConfig()).items()}
  prunable = sum(size for name, size in sizes.items() if re.search(PRUNABLE, name))
  assert compress.zeros_after(prunable, 10) == tuple(8_552_448 * k for k in range(11))
  geometric = compress.zeros_after(prunable, 10, schedule="geometric")
  np.testing.assert_allclose(1 - np.array(geometric) / prunable, 0.9 ** np.arange(11), atol=1e-6)
  # Other rates and sizes keep their share of the original number: nothing drifts.
  assert compress.zeros_after(5_308_416, 9)[5::2] == tuple(round(s * 5_308_416) for s in (0.5, 0.7, 0.9))
  assert compress.zeros_after(1000, 4, rate=0.3) == (0, 300, 600, 900, 1000)
  with pytest.raises(ValueError, match="more than there are"):
    compress.zeros_after(100, 11)
  with pytest.raises(ValueError, match="unknown schedule 'cubic'"):
    compress.zeros_after(100, 1, schedule="cubic")
  with pytest.raises(ValueError, match="rate"):
    compress.zeros_after(100, 1, rate=0.0)


def test_rewinding_takes_what_is_named(tree):
  other = jax.tree.map(lambda x: x + 1, tree)
  whole = compress.rewind(other, tree)
  jax.tree.map(np.testing.assert_array_equal, whole, tree)
  part = compress.rewind(other, tree, select=r"^layers/")
  np.testing.assert_array_equal(part["layers"][1]["bias"], tree["layers"][1]["bias"])
  np.testing.assert_array_equal(part["head"][1], other["head"][1])


def test_masks_are_bits(tree):
  masks = compress.magnitude_masks(tree, 0.3, select=SELECT)
  packed = compress.pack(masks)
  assert packed["layers/0/kernel"].shape == (7, 2) and packed["layers/0/kernel"].dtype == jnp.uint8
  _equal(compress.unpack(packed, tree), masks)
  found = jax.jit(lambda p: compress.unpack(p, tree))(packed)
  _equal(found, masks)


def test_random_masks_have_exactly_as_many_zeros(tree):
  key = jax.random.key(0)
  one, other = (compress.random_masks(k, tree, 0.6, select=SELECT) for k in (key, jax.random.key(1)))
  assert _zeros(one) == _zeros(other) == round(0.6 * SIZE)
  assert any(not np.array_equal(one[n], other[n]) for n in one)
  again = jax.jit(lambda k: compress.random_masks(k, tree, 0.6, select=SELECT))(key)
  _equal(again, one)
  like = compress.magnitude_masks(tree, 0.6, select=SELECT)
  matched = compress.random_masks(key, tree, 0.6, select=SELECT, like=like)
  assert [_zeros({0: matched[n]}) for n in like] == [_zeros({0: like[n]}) for n in like]
  low = compress.random_masks(key, tree, 0.2, select=SELECT)  # the same draw, fewer: nested
  assert all((np.asarray(one[n]) <= np.asarray(low[n])).all() for n in one)


def test_shuffles_keep_the_weights_and_change_their_places(tree):
  def stack(n):
    layers = {
      f"layer_{i}": {"query": {"kernel": jnp.full((2, 2), 1.0 + i)}, "bias": jnp.full(2, 9.0 + i)}
      for i in range(n)
    }
    return {**layers, "pooler": {"kernel": jnp.full((2, 2), 7.0)}}

  seen = set()
  for seed in range(12):
    moved = compress.shuffle_layers(jax.random.key(seed), stack(3), select="kernel$")
    seen.add(tuple(float(moved[f"layer_{i}"]["query"]["kernel"][0, 0]) for i in range(3)))
    assert moved["pooler"]["kernel"][0, 0] == 7 and moved["layer_1"]["bias"][0] == 10
  assert all(sorted(order) == [1, 2, 3] for order in seen) and (1, 2, 3) not in seen and len(seen) > 2
  with pytest.raises(ValueError, match="two or more"):
    compress.shuffle_layers(jax.random.key(0), stack(1), select="kernel$")
  mixed = compress.shuffle_entries(jax.random.key(0), tree, select=SELECT)
  before, after = (np.ravel(t["layers"][0]["kernel"]) for t in (tree, mixed))
  assert not np.array_equal(before, after) and np.array_equal(np.sort(before), np.sort(after))
  np.testing.assert_array_equal(mixed["layers"][0]["bias"], tree["layers"][0]["bias"])


def test_statistics_count(tree):
  masks = {"layers/0/kernel": jnp.arange(77).reshape(7, 11) >= 70}
  assert compress.layer_sparsity(masks) == {"layers/0/kernel": pytest.approx(70 / 77)}
  other = {"layers/0/kernel": jnp.arange(77).reshape(7, 11) >= 63}
  assert compress.overlap(masks, other) == 7 / 14
  assert compress.overlap(masks, masks) == 1.0
  total = sum(x.size for x in jax.tree.leaves(tree))
  assert compress.sizes(tree, masks) == {
    "weights": total,
    "maskable": 77,
    "kept": 7,
    "dense": 4 * total,
    "bitmap": 4 * (total - 77) + 28 + 14,
    "indexed": 4 * (total - 77) + 56,
    "mask": 14,
  }
  with pytest.raises(ValueError, match="different arrays"):
    compress.overlap(masks, {})


def test_a_ticket_comes_back_and_knows_its_weights(tree, tmp_path):
  masks = compress.magnitude_masks(tree, 0.5, select=SELECT)
  path = tmp_path / "ticket.safetensors"
  ticket = compress.make_ticket(masks, tree, {"task": "sst2"})
  compress.save_ticket(path, ticket)
  found = compress.load_ticket(path, params=tree)
  _equal(found.masks, masks)
  assert found.start == ticket.start and found.card == {"task": "sst2"}
  # What has no mask does not count: another head, none, more leaves.
  compress.load_ticket(path, params={**tree, "table": {"embedding": jnp.zeros((2, 2))}, "more": jnp.ones(3)})
  with pytest.raises(ValueError, match="made for other weights: their sha256"):
    compress.load_ticket(path, params=jax.tree.map(lambda x: x * 1.0001, tree))
  with pytest.raises(ValueError, match="made for other weights: the mask of .* has no weights"):
    compress.load_ticket(path, params={"layers": tree["layers"]})
  compress.save_ticket(path, compress.Ticket(masks, ""))  # of no fixed weights: only the shapes are checked
  compress.load_ticket(path, params=jax.tree.map(jnp.zeros_like, tree))
  with pytest.raises(ValueError, match="made for other weights: the mask of"):
    compress.load_ticket(path, params=jax.tree.map(lambda x: jnp.zeros((2, *x.shape)), tree))
  assert compress.weights_sha256(tree) != compress.weights_sha256(tree, masks)
  with pytest.raises(ValueError, match="there are no weights 'elsewhere'"):
    compress.weights_sha256(tree, ["elsewhere"])
  with pytest.raises(FileNotFoundError, match="launch/export.py"):
    compress.load_ticket(tmp_path / "none")
  path.write_bytes(path.read_bytes()[:60])
  with pytest.raises(ValueError, match="not a ticket, or is damaged"):
    compress.load_ticket(path)
  with pytest.raises(ValueError, match="has no weights"):
    compress.apply_masks(tree, {"elsewhere": jnp.ones(3, bool)})
  with pytest.raises(ValueError, match="its weights are"):
    compress.apply_masks(tree, {"layers/0/kernel": jnp.ones((2, 2), bool)})


def test_sparse_weights_come_back(tree, tmp_path):
  masks = compress.magnitude_masks(tree, 0.9, select=SELECT)
  params = compress.apply_masks(tree, masks)
  compress.save_sparse(tmp_path / "sparse.safetensors", params, masks)
  found = compress.load_sparse(tmp_path / "sparse.safetensors")
  leaves = compress.masks.chosen(params, ".")
  assert found.keys() == leaves.keys()
  for name, x in leaves.items():
    np.testing.assert_array_equal(found[name], x)
  with pytest.raises(ValueError, match="no sparse weights"):
    (tmp_path / "bad").write_text(json.dumps({}))
    compress.load_sparse(tmp_path / "bad")


def test_bad_arguments_are_named(tree):
  for sparsity in (-0.1, 1.0, float("nan")):
    with pytest.raises(ValueError, match="sparsity is"):
      compress.magnitude_masks(tree, sparsity)
    with pytest.raises(ValueError, match="sparsity is"):
      compress.random_masks(jax.random.key(0), tree, sparsity)
  with pytest.raises(ValueError, match="unknown scope 'each'"):
    compress.magnitude_masks(tree, 0.5, scope="each")
  with pytest.raises(ValueError, match="finds none of the weights"):
    compress.magnitude_masks(tree, 0.5, select="conv")
  with pytest.raises(ValueError, match="not a regular expression"):
    compress.magnitude_masks(tree, 0.5, select="(")
  with pytest.raises(ValueError, match="below that of the masks"):
    masks = compress.magnitude_masks(tree, 0.5, select=SELECT)
    compress.magnitude_masks(tree, 0.3, select=SELECT, masks=masks)


def test_what_cannot_be_pruned_is_named():
  weights = {"w": jnp.arange(6.0).reshape(2, 3), "scale": jnp.float32(2), "n": jnp.arange(3)}
  for select, what in (("scale", "a scalar"), ("n", "of int32")):
    with pytest.raises(ValueError, match=f"finds '{select}', which is {what}"):
      compress.magnitude_masks(weights, 0.5, select=select)
  clashing = {"a/b": jnp.ones(2), "a": {"b": jnp.ones(2)}}
  with pytest.raises(ValueError, match="two weights have the path 'a/b'"):
    compress.full_masks(clashing, select=".")
  with pytest.raises(ValueError, match="two weights have the path 'a/b'"):
    compress.apply_masks(clashing, {"a/b": jnp.ones(2, bool)})
  for bad in (jnp.nan, jnp.inf):
    broken = {"w": weights["w"].at[1, 1].set(bad)}
    with pytest.raises(ValueError, match="'w' has weights that are NaN or infinite"):
      compress.magnitude_masks(broken, 0.5, select="w")
    inside = jax.jit(lambda w: compress.magnitude_masks(w, 0.5, select="w"))(broken)
    assert inside["w"][1, 1] and _zeros(inside) == 3  # as the largest: values cannot raise under jit
    assert np.isfinite(compress.apply_masks(broken, {"w": weights["w"] != 4})["w"]).all()
  with pytest.raises(ValueError, match="the mask of 'w' is float32: masks are boolean"):
    compress.apply_masks(weights, {"w": jnp.ones((2, 3))})
  with pytest.raises(ValueError, match="the mask of 'scale' is of a scalar"):
    compress.pack({"scale": jnp.array(True)})
  masks = compress.full_masks({"w": weights["w"], "v": weights["w"]}, select=".")
  with pytest.raises(ValueError, match="not of the chosen weights: they differ in 'v'"):
    compress.magnitude_masks({"w": weights["w"]}, 0.5, select="w", masks=masks)
  with pytest.raises(ValueError, match="not of the chosen weights: they differ in 'v'"):
    compress.random_masks(jax.random.key(0), {"w": weights["w"]}, 0.5, select="w", like=masks)


def test_empty_leaves_have_empty_masks(tmp_path):
  weights = {"none": jnp.zeros((0, 3)), "w": jnp.arange(6.0).reshape(2, 3)}
  masks = compress.magnitude_masks(weights, 0.5, select=".")
  assert masks["none"].shape == (0, 3) and _zeros(masks) == 3
  assert compress.layer_sparsity(masks) == {"none": 0.0, "w": 0.5}
  _equal(compress.unpack(compress.pack(masks), weights), masks)
  compress.save_ticket(tmp_path / "t", compress.make_ticket(masks, weights))
  _equal(compress.load_ticket(tmp_path / "t", params=weights).masks, masks)
  for nothing in ({}, {"none": masks["none"]}):
    with pytest.raises(ValueError, match="no masked weights: their sparsity is not defined"):
      compress.sparsity(nothing)


@pytest.mark.parity
def test_torch_prunes_the_same_weights(tree):
  """Several rounds of its global pruning, on weights that change in between."""
  torch = pytest.importorskip("torch", reason="parity with torch.nn.utils.prune needs torch")
  from torch.nn.utils import prune

  weights = {n: np.asarray(x) for n, x in compress.masks.chosen(tree, SELECT).items()}
  modules = {n: torch.nn.Linear(*x.shape, bias=False) for n, x in weights.items()}
  rng, masks = np.random.default_rng(3), compress.full_masks(tree, select=SELECT)
  zeros = compress.zeros_after(SIZE, 9)
  for j in range(9):
    weights = {n: rng.normal(size=x.shape).astype(np.float32) for n, x in weights.items()}
    for n, module in modules.items():
      with torch.no_grad():
        getattr(module, "weight_orig", module.weight).copy_(torch.from_numpy(weights[n]).T)
      module(torch.zeros(1, weights[n].shape[0]))  # refreshes the weights that it ranks
    parameters = [(module, "weight") for module in modules.values()]
    prune.global_unstructured(parameters, prune.L1Unstructured, amount=zeros[j + 1] - zeros[j])
    masks = compress.prune({n: jnp.asarray(x) for n, x in weights.items()}, masks, zeros[j + 1] - zeros[j])
    for n, module in modules.items():
      np.testing.assert_array_equal(masks[n], module.weight_mask.numpy().T.astype(bool), err_msg=f"{n} {j}")
