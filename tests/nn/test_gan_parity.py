"""Generators and the discriminator give torch's values and gradients; gan.npz holds what torch gave."""

import functools
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import save_file

from vita_jax.compress.gates import gate_labels, ista
from vita_jax.nn.gan import CartoonGenerator, PatchDiscriminator, cartoon_widths
from vita_jax.nn.gan_files import from_cyclegan, load_cyclegan

FILE = Path(__file__).parent / "fixtures" / "gan.npz"
STEPS, RHO = 3, 4.5  # of make_gan.py


def _read(name):
  with np.load(FILE, allow_pickle=False) as file:
    found = {key.removeprefix(f"{name}/"): file[key] for key in file.files if key.startswith(f"{name}/")}
  if name == "steps":
    return {}, found, {}
  weights, gradients = (
    {key[2:]: x for key, x in found.items() if key.startswith(kind)} for kind in ("w/", "d/")
  )
  images = {key: np.moveaxis(found[key], 1, -1) for key in ("x", "y", "dx")}
  return images, weights, gradients


def _by_layer(arrays):
  """LAYER.weight, ... -> the layout of our layers."""
  tree = {}
  for key, x in arrays.items():
    layer, leaf = key.split(".")
    if leaf == "weight":
      transposed = layer.startswith("up") and layer.endswith("_a")
      x = np.transpose(x, (2, 3, 0, 1) if transposed else (2, 3, 1, 0))
    tree.setdefault(layer, {})["kernel" if leaf == "weight" else leaf] = x
  return tree


@functools.partial(jax.jit, static_argnums=0)
def values(net, params, x):
  """Outputs and the gradients of sum(y * cotangent), with the fixture's cotangent."""
  y, back = jax.vjp(lambda p, x: net.apply({"params": p}, x), params, x)
  shape = (y.shape[0], y.shape[3], *y.shape[1:3])
  cotangent = jnp.moveaxis(jnp.cos(jnp.arange(y.size)).reshape(shape), 1, -1)
  return y, *back(cotangent.astype(y.dtype))


def _compare(net, params, images, gradients):
  y, d_params, dx = values(net, params, images["x"])
  np.testing.assert_allclose(y, images["y"], atol=1e-4)
  np.testing.assert_allclose(dx, images["dx"], rtol=1e-4, atol=1e-3)  # gradients are up to 100
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-3), d_params, gradients)


def test_the_cyclegan_generator_and_the_loader_of_its_state_dict(tmp_path):
  images, weights, gradients = _read("cyclegan")
  path = tmp_path / "generator.safetensors"
  save_file({f"module.{key}": np.ascontiguousarray(x) for key, x in weights.items()}, path)
  generator, params = load_cyclegan(path)
  assert generator.widths == (3, (6, 12), (12, 5), (6, 3))
  _compare(generator.clone(form="top"), params, images, from_cyclegan(gradients)[1])
  # A bias before an instance norm changes nothing.
  assert max(np.abs(gradients[f"model.{place}.bias"]).max() for place in (1, 4, 7, 12, 15)) < 1e-3


def test_steps_of_both_optimizers_are_torchs():
  images, weights, _ = _read("cyclegan")
  _, wanted, _ = _read("steps")
  generator, params = from_cyclegan(weights)
  wanted, graph = from_cyclegan(wanted)[1], generator.channel_graph()
  generator = generator.clone(form="top")
  adam = optax.chain(
    optax.add_decayed_weights(1e-3), optax.scale_by_adam(0.5, 0.999), optax.scale_by_learning_rate(1e-3)
  )
  gate = ista(optax.cosine_decay_schedule(0.1, STEPS), RHO, momentum=0.5)
  tx = optax.multi_transform({"gate": gate, "weight": adam}, gate_labels(params, graph))
  params = jax.tree.map(jnp.asarray, params)
  state = tx.init(params)

  @jax.jit
  def step(params, state, grads):
    grads = jax.tree.map(lambda g: g / images["y"].size, grads)
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state

  for _ in range(STEPS):
    params, state = step(params, state, values(generator, params, images["x"])[1])
  jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4), params, wanted)
  gone = [np.asarray(params[group.name]["scale"]) == 0 for group in graph]
  assert sum(mask.sum() for mask in gone) > 5
  for mask, group in zip(gone, graph, strict=True):
    np.testing.assert_array_equal(mask, wanted[group.name]["scale"] == 0)


@pytest.mark.parametrize(
  ("name", "net"),
  [
    ("cartoon", CartoonGenerator(cartoon_widths(2, 1), form="native")),
    ("patch", PatchDiscriminator(width=2, form="native")),
  ],
)
def test_the_other_networks(name, net):
  images, weights, gradients = _read(name)
  _compare(net, _by_layer(weights), images, _by_layer(gradients))


@pytest.mark.parity
def test_the_fixture_is_what_torch_gives():
  pytest.importorskip("torch")
  done = subprocess.run(
    [sys.executable, FILE.with_name("make_gan.py"), "--check"], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr[-2000:]


def test_norms_without_weights_and_dropout_are_the_official_layout():
  _, weights, _ = _read("cyclegan")
  plain = {k: x for k, x in weights.items() if x.ndim == 4 or not _is_norm(k)}
  _, params = from_cyclegan(plain)
  assert (params["stem"]["scale"] == 1).all() and (params["stem"]["shift"] == 0).all()
  moved = {k.replace("conv_block.5", "conv_block.6"): x for k, x in plain.items()}
  moved["model.2.running_mean"] = np.zeros(3, np.float32)
  np.testing.assert_array_equal(from_cyclegan(moved)[1]["block_1_b"]["kernel"], params["block_1_b"]["kernel"])


def _is_norm(key):
  place = key.rsplit(".", 1)[0]
  return place in ("model.2", "model.5", "model.13", "model.16") or place.endswith("conv_block.2")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda w: w.pop("model.4.weight"), "'model.4.weight' is missing"),
    (lambda w: w.pop("model.4.bias"), "'model.4.bias' is missing: .* batch norm"),
    (lambda w: w.update({"model.99.weight": w["model.1.weight"]}), "'model.99.weight' is not an array of a"),
    (lambda w: w.update({"model.1.bias": np.zeros(9, np.float32)}), r"bias of stem \(model.1\) is \(9,\)"),
    (lambda w: w.update({"model.1.weight": np.zeros((3, 3, 7, 7), np.int64)}), "a weight is floats"),
    (lambda w: [w.pop(k) for k in list(w) if "conv_block" in k], "no CycleGAN generator"),
  ],
)
def test_another_state_dict_is_refused_in_one_line(change, message):
  _, weights, _ = _read("cyclegan")
  change(weights)
  with pytest.raises(ValueError, match=message) as caught:
    from_cyclegan(weights)
  assert "\n" not in str(caught.value)


def test_a_file_that_is_refused_is_named(tmp_path):
  save_file({"a": np.zeros(2, np.float32)}, tmp_path / "a.safetensors")
  with pytest.raises(ValueError, match="a.safetensors: it is no CycleGAN generator"):
    load_cyclegan(tmp_path / "a.safetensors")
  with pytest.raises(FileNotFoundError, match="no file"):
    load_cyclegan(tmp_path / "b.safetensors")
