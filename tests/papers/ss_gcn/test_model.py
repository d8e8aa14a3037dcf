"""The three hosts: counts, numpy oracles, views, jraph's batches and padding, symmetry."""

import functools

import jax
import jax.numpy as jnp
import jraph
import numpy as np
import pytest
import scipy.sparse as sp

from vita_jax.nn import graph as graphs
from vita_jax.nn import sparse
from vita_jax.papers.ss_gcn.model import HOSTS, Propagated, propagated

N, F, C, D_SS = 30, 12, 4, 5
HOST_NAMES = ("gcn", "gin", "gat")  # of the paper's first table; the others have tests of their own below
VIEWS = ("full", "no_self")


def small(seed=0, **options):
  """A random graph with raw self-loops; nodes 28 and 29 are isolated; X is sparse."""
  rng = np.random.default_rng(seed)
  pairs = np.stack(np.triu_indices(N - 2, 1), 1)
  edges = pairs[rng.permutation(len(pairs))[:60]]
  loops = np.array([1, 5, 29])
  x = sp.random(N, F, density=0.3, random_state=seed, dtype=np.float32).tocsr()
  graph = graphs.adjacency(edges, loops, N, **options)
  return edges, loops, x, graph


def init(model, key, x, graph):
  return jax.jit(lambda key: model.init(key, x, graph, "full", None))(key)


@functools.cache
def make(name):
  model = HOSTS[name](n_classes=C, n_ss_outputs=D_SS)
  _, _, x, graph = small()
  params = init(model, jax.random.key(1), x.toarray(), graph)
  if name == "gin":  # away from the initial zeros, so that a misplaced epsilon shows
    params["params"]["epsilon"] = jnp.array([0.3, -0.2])
  return model, params, x, graph


@functools.partial(jax.jit, static_argnames=("model", "view", "method"))
def run(model, params, features, graph, view="full", key=None, method="__call__"):
  rest = () if method in ("project", "project_views") else (key,)
  return model.apply(params, features, graph, view, *rest, method=method)


def dense(graph, name):
  a = np.zeros((N, N))
  a[graph.receivers, graph.senders] = getattr(graph, name)
  return a


@pytest.mark.parametrize(
  "name, width, counts",
  (
    ("gcn", 16, (23040, 59344, 8048)),
    ("gin", 16, (23154, 59442, 8098)),
    ("gat", 128, (184590, 475020, 64646)),
  ),
)
def test_parameter_counts_of_the_paper(name, width, counts):
  graph = small()[-1]
  for (n_features, n_classes), count in zip(((1433, 7), (3703, 6), (500, 3)), counts, strict=True):
    for n_ss in (0, 14):
      model = HOSTS[name](n_classes=n_classes, n_ss_outputs=n_ss)
      x = jax.ShapeDtypeStruct((N, n_features), jnp.float32)
      shapes = jax.eval_shape(
        lambda key, x, model=model: model.init(key, x, graph, "full", None), jax.random.key(0), x
      )
      assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count + width * n_ss


@pytest.mark.parametrize("name", HOST_NAMES)
def test_initial_values_fill_the_range_of_torch_linear(name):
  graph = small()[-1]
  model = HOSTS[name](n_classes=C)
  x = jnp.zeros((N, 400))
  params = init(model, jax.random.key(0), x, graph)["params"]
  kernel = params["input"]["kernel"]
  assert 0.95 * 400**-0.5 < jnp.abs(kernel).max() <= 400**-0.5 and abs(kernel.mean()) < 0.005
  if name == "gat":
    assert 0.9 * 32**-0.5 < jnp.abs(params["attention_1"]).max() <= 32**-0.5
    assert jnp.abs(params["attention_2"]).max() <= (2 * C) ** -0.5
  if name == "gin":
    assert not params["epsilon"].any()


def oracle_gcn(p, x, graph, view):
  a = dense(graph, {"full": "gcn", "no_self": "gcn_no_self"}[view])
  hidden = a @ np.maximum(a @ x @ p["input"]["kernel"], 0)
  return hidden, hidden @ p["target"]["kernel"]


def oracle_gin(p, x, graph, view):
  mean, own = dense(graph, "mean"), float(view == "full")
  h1 = np.maximum(((own * (1 + p["epsilon"][0])) * x + mean @ x) @ p["input"]["kernel"], 0)
  h2 = np.maximum(((own * (1 + p["epsilon"][1])) * h1 + mean @ h1) @ p["output"]["kernel"], 0)
  return h1, (h1 @ p["predict"]["kernel"] + h2) / 2


def oracle_gat(p, x, graph, view):
  allowed = dense(graph, "gcn") != 0
  if view == "no_self":
    allowed &= ~np.eye(N, dtype=bool)

  def attend(z, source, destination):
    query = (z @ destination)[:, None] * (view == "full")
    e = (z @ source)[None, :] + query  # [i, j]: from j into i
    e = np.exp(np.where(e > 0, e, 0.01 * e)) * allowed
    total = e.sum(1, keepdims=True)
    return np.divide(e, total, out=np.zeros_like(e), where=total > 0) @ z

  z = (x @ p["input"]["kernel"]).reshape(N, 8, 16)
  h = np.concatenate([attend(z[:, k], *p["attention_1"][:, k]) for k in range(8)], 1)
  hidden = np.where(h > 0, h, np.exp(np.minimum(h, 0)) - 1)
  return hidden, attend(hidden @ p["output"]["kernel"], *p["attention_2"][:, 0])


ORACLES = {"gcn": oracle_gcn, "gin": oracle_gin, "gat": oracle_gat}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", HOST_NAMES)
def test_equals_dense_numpy(name, view):
  model, params, x, graph = make(name)
  p = jax.tree.map(lambda a: np.asarray(a, np.float64), params["params"])
  hidden, target = ORACLES[name](p, x.toarray().astype(np.float64), graph, view)
  for features in (sparse.from_scipy(x), x.toarray()):
    out = run(model, params, features, graph, view)
    np.testing.assert_allclose(out["hidden"], hidden, atol=2e-6)
    np.testing.assert_allclose(out["target"], target, atol=2e-6)
    np.testing.assert_allclose(out["ss"], hidden @ p["ss"]["kernel"], atol=2e-6)


def test_wide_ss_head_of_the_gcn():
  # Wider than the hidden layer: propagated before the head, not after it.
  model = HOSTS["gcn"](n_classes=C, n_ss_outputs=48)
  _, _, x, graph = small()
  params = init(model, jax.random.key(0), x.toarray(), graph)
  out = run(model, params, x.toarray(), graph)
  np.testing.assert_allclose(out["ss"], out["hidden"] @ params["params"]["ss"]["kernel"], atol=1e-6)


@pytest.mark.parametrize("name", HOST_NAMES)
def test_self_supervised_head_is_optional_and_changes_nothing_else(name):
  model, params, x, graph = make(name)
  bare = HOSTS[name](n_classes=C)
  bare_params = init(bare, jax.random.key(1), x.toarray(), graph)["params"]
  assert "ss" not in bare_params
  if name != "gin":  # make() moved its epsilon
    assert all(
      jax.tree.leaves(
        jax.tree.map(
          lambda a, b: (a == b).all(), bare_params, {k: v for k, v in params["params"].items() if k != "ss"}
        )
      )
    )
  key = jax.random.key(5)
  out = run(
    bare, {"params": {k: v for k, v in params["params"].items() if k != "ss"}}, x.toarray(), graph, key=key
  )
  assert "ss" not in out
  np.testing.assert_array_equal(out["target"], run(model, params, x.toarray(), graph, key=key)["target"])


@pytest.mark.parametrize("view", VIEWS)
def test_propagated_features(view):
  model, params, x, graph = make("gcn")
  on_the_fly = run(model, params, sparse.from_scipy(x), graph, view)
  beforehand = run(model, params, propagated(graph, x), graph, view)
  for key in on_the_fly:
    np.testing.assert_allclose(on_the_fly[key], beforehand[key], atol=1e-6)


@pytest.mark.parametrize("name", HOST_NAMES)
def test_no_self_hides_own_features_in_layer_one(name):
  # layer 1 of row i = what `project` (GCN, GIN) or the mixed heads (GAT "hidden") give in row i.
  model, params, x, graph = make(name)
  x = x.toarray()

  def layer_one(x, view):
    if name == "gat":
      return run(model, params, x, graph, view)["hidden"]
    return run(model, params, x, graph, view, method="project")

  for i in (0, 7, 29):
    changed = x.copy()
    changed[i] += np.linspace(0.5, 2, F)
    np.testing.assert_array_equal(layer_one(x, "no_self")[i], layer_one(changed, "no_self")[i])
    assert np.abs(layer_one(x, "full")[i] - layer_one(changed, "full")[i]).max() > 1e-3
  assert not np.asarray(layer_one(x, "no_self")[29]).any()  # isolated: nothing comes in


@pytest.mark.parametrize("name", ["gcn", *(pytest.param(n, marks=pytest.mark.slow) for n in ("gin", "gat"))])
def test_padding_changes_nothing(name):
  model, params, x, graph = make(name)
  padded = small(pad_multiple=16)[-1]
  n = len(padded.row_starts) - 1
  features, padded_features = sparse.from_scipy(x), sparse.from_scipy(x, n_rows=n)
  for view in VIEWS:
    z = run(model, params, padded_features, padded, view)["target"]
    assert np.isfinite(z).all()
    np.testing.assert_allclose(z[:N], run(model, params, features, graph, view)["target"], atol=1e-6)

  def loss(params, features, graph):
    out = model.apply(params, features, graph, "no_self", None)
    return jnp.sum(out["target"][:N] ** 2) + jnp.sum(out["ss"][:N] ** 2)

  step = jax.jit(jax.grad(loss))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    step(params, features, graph),
    step(params, padded_features, padded),
  )
  np.testing.assert_allclose(
    graphs.propagate_host(padded, x, padded.gcn)[:N], graphs.propagate_host(graph, x, graph.gcn)
  )


def jraph_graph(seed, weighted):
  """The plain jraph graph of `small(seed)`, its features [N, F] and targets [N, C]."""
  edges, loops, x, _ = small(seed)
  rng = np.random.default_rng(seed)
  weights = {}
  if weighted:
    weights = {"edge_weight": rng.uniform(0.2, 3, len(edges)), "loop_weight": rng.uniform(1, 2, len(loops))}
  nodes = {"x": x.toarray(), "y": rng.normal(size=(N, C)).astype(np.float32)}
  return graphs.undirected_graph(edges, loops, nodes, **weights)


@pytest.mark.parametrize("weighted", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", HOST_NAMES)
def test_separate_batched_and_padded_jraph_graphs_are_equal(name, weighted):
  model, params, _, _ = make(name)

  @functools.partial(jax.jit, static_argnums=0)
  def run(view, params, graph, mask):
    def loss(params, x):
      out = model.apply(params, x, graph, view, None)
      rows = jnp.sum((out["target"] - graph.nodes["y"]) ** 2, -1) + jnp.sum(out["ss"] ** 2, -1)
      return jnp.sum(mask * rows), out["target"]

    (_, target), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, graph.nodes["x"])
    return target, *gradients

  one, two = (jraph_graph(seed, weighted) for seed in (0, 7))
  batched = jraph.batch_np([one, two])
  padded = jraph.pad_with_graphs(batched, 2 * N + 9, len(batched.senders) + 13, n_graph=4)
  ones, more = np.ones(2 * N), np.concatenate([np.ones(2 * N), np.zeros(9)])
  for view in VIEWS:
    (y1, w1, x1), (y2, w2, x2) = (run(view, params, graph, np.ones(N)) for graph in (one, two))
    for graph, mask in ((batched, ones), (padded, more)):
      y, w, dx = run(view, params, graph, mask)
      np.testing.assert_allclose(y[: 2 * N], np.concatenate([y1, y2]), atol=2e-6)
      np.testing.assert_allclose(dx[: 2 * N], np.concatenate([x1, x2]), atol=2e-5)
      jax.tree.map(lambda a, b, c: np.testing.assert_allclose(a, b + c, rtol=1e-4, atol=2e-5), w, w1, w2)


@pytest.mark.parametrize("name", HOST_NAMES)
def test_a_plain_jraph_graph_gives_what_the_host_matrices_give(name):
  model, params, x, matrices = make(name)
  edges, loops, _, _ = small()
  graph = graphs.undirected_graph(edges, loops)._replace(n_node=np.array([N]))
  for view in VIEWS:
    want, got = (run(model, params, x.toarray(), g, view)["target"] for g in (matrices, graph))
    np.testing.assert_allclose(got, want, atol=2e-6)


@pytest.mark.parametrize("name", HOST_NAMES)
def test_edge_weights_are_used(name):
  model, params, x, _ = make(name)
  edges, loops, _, plain = small()
  weight = np.random.default_rng(3).uniform(0.2, 3, len(edges))
  outputs = [
    run(model, params, x.toarray(), graphs.adjacency(edges, loops, N, edge_weight=w))["target"]
    for w in (np.ones(len(edges)), weight)
  ]
  np.testing.assert_allclose(outputs[0], run(model, params, x.toarray(), plain)["target"], atol=2e-6)
  assert np.abs(outputs[1] - outputs[0]).max() > 1e-3


def test_a_graph_of_another_size_is_refused():
  for name in HOST_NAMES:
    model, params, x, graph = make(name)
    with pytest.raises(ValueError, match="the graph has 30 nodes and the features have 60 rows"):
      model.apply(params, np.concatenate([x.toarray()] * 2), graph, "full", None)


@pytest.mark.parametrize("name", HOST_NAMES)
def test_permutation_equivariance(name):
  model, params, x, graph = make(name)
  edges, loops, _, _ = small()
  order = np.random.default_rng(1).permutation(N)
  place = np.argsort(order)  # new number of each old node
  shuffled = graphs.adjacency(np.sort(place[edges], 1), place[loops], N)
  want = run(model, params, x.toarray(), graph)["target"]
  got = run(model, params, x.toarray()[order], shuffled)["target"]
  np.testing.assert_allclose(got, want[order], atol=1e-6)


@pytest.mark.parametrize("name", HOST_NAMES)
def test_dropout_needs_a_key_and_follows_it(name):
  model, params, x, graph = make(name)
  outs = [
    run(model, params, x.toarray(), graph, key=key)["target"]
    for key in (None, jax.random.key(1), jax.random.key(1), jax.random.key(2))
  ]
  np.testing.assert_array_equal(outs[1], outs[2])
  assert np.abs(outs[0] - outs[1]).max() > 1e-4 and np.abs(outs[1] - outs[3]).max() > 1e-4


@pytest.mark.parametrize("name", HOST_NAMES)
def test_views_projected_together_equal_one_by_one(name):
  model, params, x, graph = make(name)
  both = run(model, params, x.toarray(), graph, VIEWS, method="project_views")
  for view, got in zip(VIEWS, both, strict=True):
    want = run(model, params, x.toarray(), graph, view, method="project")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got, want)
    again = run(model, params, got, graph, view, method="heads")["target"]
    np.testing.assert_allclose(again, run(model, params, x.toarray(), graph, view)["target"], atol=1e-6)


@pytest.mark.parametrize("name", ["gcn", *(pytest.param(n, marks=pytest.mark.slow) for n in ("gin", "gat"))])
def test_seeds_vmapped_equal_one_by_one(name):
  model, params, x, graph = make(name)
  features = sparse.from_scipy(x)
  keys = jax.random.split(jax.random.key(0), 2)
  many = jax.tree.map(lambda a: jnp.stack([a, 1.1 * a]), params)

  def loss(params, key):
    out = model.apply(params, features, graph, "no_self", key)
    return jnp.sum(out["target"] ** 2) + jnp.sum(out["ss"] ** 2)

  batched = jax.jit(jax.vmap(jax.grad(loss)))(many, keys)
  gradient = jax.jit(jax.grad(loss))
  single = [gradient(jax.tree.map(lambda a, i=i: a[i], many), keys[i]) for i in range(2)]
  jax.tree.map(
    lambda b, *s: np.testing.assert_allclose(b, np.stack(s), rtol=1e-4, atol=1e-5), batched, *single
  )


@pytest.mark.parametrize("name", HOST_NAMES)
def test_bfloat16_compute(name):
  model, params, x, graph = make(name)
  low = HOSTS[name](n_classes=C, n_ss_outputs=D_SS, dtype=jnp.bfloat16)
  out = run(low, params, sparse.from_scipy(x), graph)
  assert out["hidden"].dtype == jnp.bfloat16 and out["target"].dtype == jnp.float32
  want = run(model, params, sparse.from_scipy(x), graph)["target"]
  np.testing.assert_allclose(out["target"], want, atol=0.03 * np.abs(want).max())
  started = jax.eval_shape(lambda: low.init(jax.random.key(0), x.toarray(), graph, "full", None))
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(started))


def test_refuses_wrong_views_and_features():
  _, _, x, graph = small()
  for name in HOST_NAMES:
    model, params, _, _ = make(name)
    with pytest.raises(ValueError, match="view must be"):
      model.apply(params, x.toarray(), graph, "half", None)
  features = propagated(graph, x, views=("full",))
  model, params, _, _ = make("gcn")
  with pytest.raises(ValueError, match="not propagated"):
    model.apply(params, features, graph, "no_self", None)
  for name in ("gin", "gat"):
    model, params, _, _ = make(name)
    with pytest.raises(ValueError, match="only the GCN"):
      model.apply(params, Propagated(x.toarray()), graph, "full", None)


@pytest.mark.parametrize("name", ["gmnn", "mlp"])
def test_the_other_networks_are_dense_numpy_too(name):
  _, _, x, graph = small()
  features, model = sparse.from_scipy(x, ordered=True), HOSTS[name](n_classes=C, n_ss_outputs=D_SS)
  params = init(model, jax.random.key(1), x.toarray(), graph)
  p = jax.tree.map(lambda a: np.asarray(a, np.float64), params["params"])
  for view in VIEWS:
    if name == "gmnn":
      hidden, target = oracle_gcn(p, x.toarray(), graph, view)
    else:
      hidden = np.maximum(x.toarray() @ p["input"]["kernel"], 0)
      target = hidden @ p["target"]["kernel"]
    for one in (features, x.toarray()):
      out = run(model, params, one, graph, view)
      np.testing.assert_allclose(out["hidden"], hidden, atol=2e-6)
      np.testing.assert_allclose(out["target"], target, atol=2e-6)
      np.testing.assert_allclose(out["ss"], hidden @ p["ss"]["kernel"], atol=2e-6)
    noisy = [run(model, params, features, graph, view, key=jax.random.key(k))["target"] for k in (1, 1, 2)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert np.abs(noisy[0] - noisy[2]).max() > 1e-4


def test_the_weights_of_gmnn_start_in_the_range_of_their_outputs():
  params = init(HOSTS["gmnn"](n_classes=C), jax.random.key(0), jnp.zeros((N, 400)), small()[-1])["params"]
  for name, outputs in (("input", 16), ("target", C)):
    assert 0.9 * outputs**-0.5 < jnp.abs(params[name]["kernel"]).max() <= outputs**-0.5


def test_without_the_graph_the_layers_are_those_of_an_mlp():
  model, (_, _, x, graph) = HOSTS["graphmix"](n_classes=C), small()
  params = init(model, jax.random.key(1), x.toarray(), graph)
  hidden = model.apply(params, x.toarray(), None, method="alone")
  kernels = [np.asarray(params["params"][k]["kernel"]) for k in ("input", "target")]
  np.testing.assert_allclose(hidden, np.maximum(x.toarray() @ kernels[0], 0), atol=1e-6)
  found = model.apply(params, hidden, method="classify")
  np.testing.assert_allclose(found, np.asarray(hidden) @ kernels[1], atol=1e-6)
