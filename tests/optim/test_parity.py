"""A hundred steps against the definitions written down once more: NumPy in float64, and torch's cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.table import DOCUMENTED, every_kind, jit, make, theta_of

STEPS = 100
SHAPES = {"w": (4, 3), "b": (5,)}


def _sigmoid(x):
  return 1.0 / (1.0 + np.exp(-x))


def _theta64(kind):
  return jax.tree.map(lambda x: np.asarray(x, np.float64), theta_of(kind))


def _gradients():
  """Per step and tensor; sizes over some orders of magnitude, some of them zero."""
  rng = np.random.default_rng(0)

  def draw(shape):
    return rng.normal(size=shape) * np.exp(2 * rng.normal(size=shape)) * (rng.random(shape) > 0.05)

  return [{n: draw(shape).astype(np.float32) for n, shape in SHAPES.items()} for _ in range(STEPS)]


def _ours(kind, gradients):
  tx = make(kind)
  x = {n: jnp.full(shape, 0.5) for n, shape in SHAPES.items()}

  def step(carry, g):
    x, state = carry
    updates, state = tx.update(g, state, x)
    return (jax.tree.map(jnp.add, x, updates), state), updates

  stacked = jax.tree.map(lambda *g: jnp.stack(g), *gradients)
  _, updates = jit(lambda: jax.lax.scan(step, (x, tx.init(x)), stacked))()
  return updates, tx.init(x)


# One function per kind: tensor name -> gradients [steps, n] gives tensor name -> updates [steps, n].


def _lstm(theta, x, h, c):
  z = np.concatenate([x, h], axis=1) @ theta["w_gates"] + theta["b_gates"]
  i, j, f, o = z[:, :20], z[:, 20:40], z[:, 40:60], z[:, 60:]
  c = _sigmoid(f + 1) * c + _sigmoid(i) * np.tanh(j)
  return _sigmoid(o) * np.tanh(c), c


def _dm_features(g):
  return np.stack([np.maximum(np.log(np.abs(g) + 2.0**-23) / 5, -1), np.clip(g * np.exp(5), -1, 1)], axis=1)


def _rnnprop_features(gradients):
  m = v = np.zeros(gradients.shape[1])
  for t, g in enumerate(gradients, start=1):
    m, v = 0.95 * m + 0.05 * g, 0.95 * v + 0.05 * g**2
    root = np.sqrt(v / (1 - 0.95**t)) + 1e-8
    yield np.stack([m / (1 - 0.95**t) / root, g / root], axis=1)


def _numpy_dm(theta, gradients, state):
  return {name: _numpy_two_lstms(theta, map(_dm_features, g)) for name, g in gradients.items()}


def _numpy_rnnprop(theta, gradients, state):
  p = theta["input_projection"]
  found = {}
  for name, g in gradients.items():
    projected = (x @ p["w"] + p["b"] for x in _rnnprop_features(g))
    features = (np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1) for z in projected)
    found[name] = _numpy_two_lstms(theta, features, np.tanh)
  return found


def _numpy_two_lstms(theta, features, last=lambda x: x):
  h1 = c1 = h2 = c2 = None
  updates = []
  for x in features:
    if h1 is None:
      h1, c1, h2, c2 = np.zeros((4, len(x), 20))
    h1, c1 = _lstm(theta["lstm_1"], x, h1, c1)
    h2, c2 = _lstm(theta["lstm_2"], h1, h2, c2)
    updates.append(0.01 * last(h2 @ theta["linear"]["w"] + theta["linear"]["b"])[:, 0])
  return np.stack(updates)


def _gru(theta, x, h, bias):
  n = h.shape[1]
  w, b = theta["w"], theta["b"] + bias
  gates = _sigmoid(np.concatenate([x, h], axis=1) @ w[:, : 2 * n] + b[: 2 * n])
  r, u = gates[:, :n], gates[:, n:]
  candidate = np.tanh(np.concatenate([x, r * h], axis=1) @ w[:, 2 * n :] + b[2 * n :])
  return u * h + (1 - u) * candidate


def _numpy_scale(theta, gradients, state):

  def affine(name, x):
    return x @ theta[name]["w"] + theta[name]["b"]

  sizes = {name: g.shape[1] for name, g in gradients.items()}
  h2 = theta["h_problem"][None]
  h1 = {name: theta["h_tensor"][None] for name in sizes}
  h0 = {name: np.tile(theta["h_coordinate"], (n, 1)) for name, n in sizes.items()}
  b = {name: np.full(n, _sigmoid(theta["input_decay"]["b"][0])) for name, n in sizes.items()}
  s = {name: np.full(n, _sigmoid(theta["scale_decay"]["b"][0])) for name, n in sizes.items()}
  rate = {name: np.asarray(state.log_rate[name], np.float64).ravel() for name in sizes}
  a = {name: np.zeros((n, 4)) for name, n in sizes.items()}
  q = {name: np.zeros((n, 4)) for name, n in sizes.items()}
  found = {name: [] for name in sizes}
  for t in range(STEPS):
    mean_rate = np.concatenate(list(rate.values())).mean()
    above = {name: affine(f"problem_to_{name}", h2) for name in ("coordinate", "tensor")}
    for name, all_g in gradients.items():
      g = all_g[t]
      for i in range(4):
        decay = b[name] ** (0.5**i)
        a[name][:, i] = decay * a[name][:, i] + (1 - decay) * g
        keep = s[name] if t else 0.0
        q[name][:, i] = keep * q[name][:, i] + (1 - keep) * (a[name][:, i] ** 2 + 1e-12)
      u = np.arcsinh(a[name] / np.sqrt(q[name] + 1e-16))
      noise = np.log(q[name] + 1e-16)
      x = np.concatenate(
        [u, u[:, :3] * u[:, 1:], noise - noise.mean(1, keepdims=True), (rate[name] - mean_rate)[:, None]],
        axis=1,
      )
      bias = affine("tensor_to_coordinate", h1[name]) + above["coordinate"]
      h0[name] = h = np.concatenate(
        [_gru(theta["gru_coordinate"], x[[k]], h0[name][[k]], bias[0]) for k in range(len(g))]
      )
      below = np.concatenate([h, x], axis=1).mean(0, keepdims=True)
      h1[name] = _gru(theta["gru_tensor"], below, h1[name], above["tensor"][0])
      d = (h @ theta["update"]["w"])[:, 0] + u @ theta["shortcut"]
      d = d / np.sqrt(np.mean(d**2) + 1e-16)
      moved = np.clip(rate[name] + affine("log_rate", h)[:, 0], -33, 33)
      found[name].append(-np.exp(moved + theta["step_bias"]) * d)
      s[name], b[name] = (_sigmoid(affine(n, h)[:, 0]) for n in ("scale_decay", "input_decay"))
      kept = _sigmoid(theta["log_rate_momentum"])
      rate[name] = kept * rate[name] + (1 - kept) * moved
    h2 = _gru(theta["gru_problem"], np.mean(list(h1.values()), axis=0), h2, 0.0)
  return {name: np.stack(updates) for name, updates in found.items()}


def _numpy_mlp(theta, gradients, state):
  decays = np.array([0.1, 0.5, 0.9, 0.99, 0.999, 0.9999])
  times = np.array([1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5])
  found = {}
  for name, all_g in gradients.items():
    p, m, updates = np.full(all_g.shape[1], 0.5), np.zeros((all_g.shape[1], 6)), []
    for t, g in enumerate(all_g):
      m = decays * m + (1 - decays) * g[:, None]
      seen = np.concatenate([g[:, None], p[:, None], m], axis=1)
      seen = seen / np.sqrt(np.mean(seen**2, axis=0) + 1e-5)
      x = np.concatenate([seen, np.tile(np.tanh(t / times - 1), (len(g), 1))], axis=1)
      for layer in ("linear_1", "linear_2"):
        x = np.maximum(x @ theta[layer]["w"] + theta[layer]["b"], 0)
      x = x @ theta["linear"]["w"] + theta["linear"]["b"]
      updates.append(-1e-3 * x[:, 0] * np.exp(1e-3 * x[:, 1]))
      p = p + updates[-1]
    found[name] = np.stack(updates)
  return found


def _numpy_vita(theta, gradients, state):
  decays, found = np.array([0.9, 0.99, 0.999]), {}
  for name, all_g in gradients.items():
    shape = SHAPES[name]
    p, m, v, rows, columns, updates = np.full(shape, 0.5), np.zeros((3, *shape)), 0.0, 0.0, 0.0, []
    for t, flat in enumerate(all_g, start=1):
      g, left = flat.reshape(shape), 1 - 0.999**t
      m = np.stack([d * old + (1 - d) * g for d, old in zip(decays, m, strict=True)])
      v = 0.999 * v + 0.001 * g**2
      hats = [old / (1 - d**t) for d, old in zip(decays, m, strict=True)]
      root = low = np.sqrt(v / left)
      if g.ndim == 2:
        rows = 0.999 * rows + 0.001 * np.mean(g**2, axis=1)
        columns = 0.999 * columns + 0.001 * np.mean(g**2, axis=0)
        low = np.sqrt(np.outer(rows, columns) / np.mean(rows) / left)
      pairs = [*((hat, root) for hat in hats), (g, root), (hats[0], low)]
      f = np.stack([np.divide(a, b, out=np.zeros(shape), where=b > 0) for a, b in pairs])
      size = np.abs(p) / np.sqrt(np.mean(p**2))
      x = np.concatenate([np.abs(f) / (1 + np.abs(f)), (size / (1 + size))[None]])
      x = x.reshape(len(x), -1).T
      for layer in ("linear_1", "linear_2"):
        x = x @ theta[layer]["w"] + theta[layer]["b"]
        x = np.maximum(x, 0.1 * x)
      weights = (x @ theta["linear"]["w"] + theta["linear"]["b"]).T
      d = np.sum(weights * f.reshape(len(f), -1), axis=0)
      alive = min(np.sqrt(np.mean(f[0] ** 2)) / 0.1, 1.0)
      updates.append(-1e-3 * alive * d / np.sqrt(np.mean(d**2)))
      p = p + updates[-1].reshape(shape)
    found[name] = np.stack(updates)
  return found


NUMPY = {
  "l2o_dm": _numpy_dm,
  "rnnprop": _numpy_rnnprop,
  "l2o_scale": _numpy_scale,
  "l2o_mlp": _numpy_mlp,
  "vita_mlp": _numpy_vita,
}


def _assert_same(ours, theirs, tolerance=1e-5):
  """To `tolerance` of the largest update."""
  size = max(np.abs(x).max() for x in theirs.values())
  assert all(np.std(x) > 1e-3 * size for x in theirs.values())
  for name, expected in theirs.items():
    found = np.asarray(ours[name]).reshape(expected.shape)
    np.testing.assert_allclose(found / size, expected / size, rtol=0, atol=tolerance, err_msg=name)


def _flat(gradients):
  return {n: np.stack([g[n].ravel() for g in gradients]).astype(np.float64) for n in SHAPES}


@every_kind
def test_a_hundred_steps_equal_numpy_in_float64(kind):
  gradients = _gradients()
  ours, state = _ours(kind, gradients)
  # Some read the parameters, so that float32's errors in them come back.
  tolerance = 5e-5 if kind in ("l2o_mlp", "vita_mlp") else 1e-5
  _assert_same(ours, NUMPY[kind](_theta64(kind), _flat(gradients), state), tolerance)


def test_every_kind_has_its_second_implementation():
  assert NUMPY.keys() == DOCUMENTED.keys()


@pytest.mark.parametrize("kind", ["l2o_dm", "rnnprop"])
@pytest.mark.parity
def test_a_hundred_steps_equal_torch(kind):
  torch = pytest.importorskip("torch")
  theta = _theta64(kind)

  def tensor(x):
    return torch.tensor(np.ascontiguousarray(x), dtype=torch.float64)

  def cell(layer):
    """i, j, f, o with the forget bias in the cell -> torch's i, f, g, o with it in the bias."""
    i, j, f, o = np.split(layer["w_gates"], 4, axis=1)
    bi, bj, bf, bo = np.split(layer["b_gates"], 4)
    w = np.concatenate([i, f, j, o], axis=1).T
    inputs = w.shape[1] - 20
    made = torch.nn.LSTMCell(inputs, 20, dtype=torch.float64)
    weights = (w[:, :inputs], w[:, inputs:], np.concatenate([bi, bf + 1, bj, bo]), np.zeros(80))
    with torch.no_grad():
      for parameter, value in zip(
        (made.weight_ih, made.weight_hh, made.bias_ih, made.bias_hh), weights, strict=True
      ):
        parameter.copy_(tensor(value))
    return made

  def updates(g):
    first, second, one, two, found = cell(theta["lstm_1"]), cell(theta["lstm_2"]), None, None, []
    for x in map(_dm_features, g) if kind == "l2o_dm" else _rnnprop_features(g):
      x = tensor(x)
      if kind == "rnnprop":
        x = torch.nn.functional.elu(
          x @ tensor(theta["input_projection"]["w"]) + tensor(theta["input_projection"]["b"])
        )
      one = first(x, one)
      two = second(one[0], two)
      out = two[0] @ tensor(theta["linear"]["w"]) + tensor(theta["linear"]["b"])
      found.append(0.01 * (torch.tanh(out) if kind == "rnnprop" else out)[:, 0])
    return torch.stack(found).numpy()

  gradients = _gradients()
  with torch.no_grad():
    theirs = {name: updates(g) for name, g in _flat(gradients).items()}
  _assert_same(_ours(kind, gradients)[0], theirs)
