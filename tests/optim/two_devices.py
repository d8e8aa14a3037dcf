"""Learned optimizers on parameters that lie over two CPU devices: two_devices.py OUT.json

Axes may be Auto (XLA places arrays), Explicit (the sharding is part of the type) or Manual (in shard_map).
"""

import json
import re
import sys
from pathlib import Path

from vita_jax.train.mesh import use_cpu_devices

sys.path.insert(0, str(Path(__file__).parents[1]))
COLLECTIVES = r"all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast"


def main(out: Path) -> None:
  use_cpu_devices(2)
  import jax
  import jax.numpy as jnp
  import optax
  from jax.sharding import AxisType, NamedSharding
  from jax.sharding import PartitionSpec as P

  from optim.table import gradients_like, jit, make, named
  from vita_jax.optim import KINDS
  from vita_jax.train.mesh import make_mesh

  mesh = make_mesh({"seed": 1, "data": 1, "model": -1})
  explicit = jax.make_mesh((2,), ("model",), axis_types=(AxisType.Explicit,))
  specs = {"w": P(None, "model"), "b": P("model"), "s": P()}
  params = {"w": jnp.ones((3, 8)), "b": jnp.ones(8), "s": jnp.ones(())}
  gradients = gradients_like(params, 3)
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *gradients)

  def place(tree, mesh, leading=()):
    return {n: jax.device_put(x, NamedSharding(mesh, P(*leading, *specs[n]))) for n, x in tree.items()}

  def run(tx, params, stacked):
    def step(state, g):
      updates, state = tx.update(g, state, params)
      return state, updates

    return jax.lax.scan(step, tx.init(params), stacked)[1]

  def largest(found, expected):
    pairs = zip(*map(jax.tree.leaves, jax.device_get((found, expected))), strict=True)
    return max(float(abs(x - y).max()) for x, y in pairs)

  def tried(fn):
    """What `fn` returns, or the text of the error that it raises."""
    try:
      return fn()
    except Exception as error:
      return f"{type(error).__name__}: {str(error).splitlines()[0]}"

  def layout(state):
    return {name: (list(getattr(x.sharding, "spec", ())), x.ndim) for name, x in named(state).items()}

  def with_explicit_axes(tx, expected):
    with jax.set_mesh(explicit):
      found = jit(lambda *args: run(tx, *args))(place(params, explicit), place(stacked, explicit, (None,)))
      assert jax.typeof(found["w"]).sharding.spec == P(None, None, "model"), jax.typeof(found["w"])
    return largest(found, expected)

  def inside_shard_map(tx, expected):
    inner = {name: P(None, *spec) for name, spec in specs.items()}
    mapped = jax.shard_map(lambda *a: run(tx, *a), mesh=mesh, in_specs=(specs, inner), out_specs=inner)
    return largest(jit(mapped)(params, stacked), expected)

  def named_axes(kind, tx, expected):
    """Inside shard_map, told along which axes tensors are cut; the first state is made outside."""
    told = make.__wrapped__(kind, **({"specs": specs} if kind == "vita_mlp" else {"axis_name": "model"}))
    inner = {name: P(None, *spec) for name, spec in specs.items()}
    start = tx.init(params)
    state_specs = jax.tree_util.tree_map_with_path(state_spec, start)

    def steps(state, params, stacked):
      def step(state, g):
        updates, state = told.update(g, state, params)
        return state, updates

      return jax.lax.scan(step, state, stacked)[1]

    mapped = jax.shard_map(steps, mesh=mesh, in_specs=(state_specs, specs, inner), out_specs=inner)
    return largest(jit(mapped)(start, params, stacked), expected)

  def state_spec(path, x):
    field, *names = (getattr(p, "name", getattr(p, "key", None)) for p in path)
    own = specs.get(names[-1], P()) if names else P()
    if field in ("count", "h_problem", "h_tensor") or not names:
      return P()
    if field in ("rows", "columns"):
      return P() if len(own) < 2 else P(own[0] if field == "rows" else own[1])
    return P(*(None,) * (x.ndim - len(own)), *own)

  found = {}
  for kind in KINDS:
    tx = make(kind)
    expected = jit(lambda *args, tx=tx: run(tx, *args))(params, stacked)
    shared, update = place(params, mesh), jit(tx.update)
    fresh = {"eager": tx.init(shared), "jit": jax.jit(tx.init)(shared)}
    state, difference = fresh["eager"], 0.0
    for i, g in enumerate(gradients):
      g = place(g, mesh)
      updates, state = update(g, state, shared)
      for name, x in updates.items():
        assert x.sharding.is_equivalent_to(NamedSharding(mesh, specs[name]), x.ndim), (kind, name, x.sharding)
      difference = max(difference, largest(updates, jax.tree.map(lambda x, i=i: x[i], expected)))
    text = update.lower(g, state, shared).compile().as_text()
    found[kind] = {
      "largest difference": difference,
      "largest update": float(optax.tree.max(jax.tree.map(jnp.abs, expected))),
      "collectives": sorted(set(re.findall(COLLECTIVES, text))),
      "shardings": {"later": layout(state), **{how: layout(x) for how, x in fresh.items()}},
      "explicit": tried(lambda tx=tx, expected=expected: with_explicit_axes(tx, expected)),
      "named axes": tried(
        lambda kind=kind, tx=tx, expected=expected: (
          0.0 if KINDS[kind].coordinatewise else named_axes(kind, tx, expected)
        )
      ),
      "shard_map": tried(lambda tx=tx, expected=expected: inside_shard_map(tx, expected)),
    }
  out.write_text(json.dumps(found))


if __name__ == "__main__":
  main(Path(sys.argv[1]))
