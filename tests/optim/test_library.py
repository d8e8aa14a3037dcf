"""Learned optimizers by name and from a folder, and what is said of a folder that is not one."""

import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import save_file

from optim.table import (
  assert_close,
  every_kind,
  every_quick_kind,
  gradients_like,
  make,
  named,
  play,
  small_params,
  theta_of,
)
from vita_jax.optim import KINDS, learned, learned_card, learned_names, library, load_learned

PARAMS = small_params()
GRADIENTS = gradients_like(PARAMS, 1)


def _write(folder, kind="l2o_dm", theta=None, **options):
  """What a meta-training run exports of an optimizer."""
  folder.mkdir(parents=True, exist_ok=True)
  arrays = {n: np.asarray(x) for n, x in named(theta_of(kind)).items()} if theta is None else theta
  save_file(arrays, str(folder / "params.safetensors"))
  (folder / "config.json").write_text(json.dumps({"config": {"optimizer": {"kind": kind, **options}}}))
  return folder


@pytest.fixture
def shipped(tmp_path, monkeypatch):
  """Two optimizers as if they shipped, and a folder without weights."""
  root = tmp_path / "weights"
  for name, kind in (("rnnprop-cl-il", "rnnprop"), ("dm", "l2o_dm")):
    _write(root / name, kind)
    (root / name / "card.json").write_text(json.dumps({"optimizer": {"kind": kind}, "limits": "none known"}))
  (root / "unfinished").mkdir()
  monkeypatch.setattr(library, "SHIPPED", root)
  return root


def _says(error):
  """The message, which is one line."""
  message = str(error.value)
  assert "\n" not in message
  return message


@every_quick_kind
def test_an_exported_optimizer_is_the_one_that_was_trained(kind, tmp_path):
  folder = _write(tmp_path / "export", kind)
  read_kind, theta, options = library.read_learned(folder)
  assert (read_kind, options) == (kind, {})
  assert_close(theta, theta_of(kind), rtol=0, atol=0)
  rate = {"scale": 1e-3} if KINDS[kind].needs_rate else {}
  (found,), _ = play(load_learned(folder, **rate), GRADIENTS, PARAMS)
  assert_close(found, play(make(kind), GRADIENTS, PARAMS)[0][0], rtol=1e-6)


def test_options_of_training_hold_and_given_ones_replace_them(tmp_path):
  folder = str(_write(tmp_path, scale=0.5, state_dtype="bfloat16"))
  (expected,), _ = play(make("l2o_dm", state_dtype="bfloat16"), GRADIENTS, PARAMS)
  for options, factor in (({}, 50.0), ({"scale": 0.02}, 2.0)):
    (found,), state = play(load_learned(folder, **options), GRADIENTS, PARAMS)
    assert_close(found, jax.tree.map(lambda x, f=factor: f * x, expected))
    assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype(jnp.bfloat16)}
  state = load_learned(folder, state_dtype=jnp.float32).init(PARAMS)
  assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype(jnp.float32)}


def test_shipped_ones_are_found_by_name(shipped):
  assert learned_names() == ("dm", "rnnprop-cl-il")
  assert learned_card("dm") == {"optimizer": {"kind": "l2o_dm"}, "limits": "none known"}
  for name, kind in (("dm", "l2o_dm"), ("rnnprop-cl-il", "rnnprop")):
    found = play(optax.chain(learned(name)), GRADIENTS, PARAMS)[0]
    assert_close(found, play(make(kind), GRADIENTS, PARAMS)[0], rtol=1e-6)
  halved = play(learned("dm", scale=0.005), GRADIENTS, PARAMS)[0]
  assert_close(halved, jax.tree.map(lambda x: x / 2, play(make("l2o_dm"), GRADIENTS, PARAMS)[0]))


@pytest.mark.parametrize("name", ["adam", "unfinished", "", "../weights/dm", "DM"])
@pytest.mark.parametrize("ask", [learned, learned_card])
def test_an_unknown_name_lists_those_that_ship(name, ask, shipped):
  with pytest.raises(ValueError) as error:
    ask(name)
  assert _says(error) == f"no learned optimizer '{name}' is shipped; there are: dm, rnnprop-cl-il"


def test_an_unknown_name_where_nothing_ships(tmp_path, monkeypatch):
  monkeypatch.setattr(library, "SHIPPED", tmp_path / "nowhere")
  assert learned_names() == ()
  with pytest.raises(ValueError) as error:
    learned("dm")
  assert _says(error) == "no learned optimizer 'dm' is shipped; there are: none yet"


@pytest.mark.parametrize("name", learned_names())
def test_what_really_ships_loads_and_has_a_card(name):
  card = learned_card(name)
  assert card["optimizer"]["kind"] in KINDS
  found, _ = play(learned(name), GRADIENTS, PARAMS)
  assert all(np.isfinite(x).all() and np.any(x) for x in jax.tree.leaves(found))


def _changed(**changes):
  arrays = {n: np.asarray(x) for n, x in named(theta_of("l2o_dm")).items()}
  for name, value in changes.items():
    name = name.replace("__", "/")
    if value is None:
      del arrays[name]
    else:
      arrays[name] = value
  return arrays


@pytest.mark.parametrize(
  "theta, words",
  [
    (_changed(lstm_1__b_gates=None), ["'lstm_1/b_gates' is missing", "lstm_1/b_gates [80]"]),
    (
      _changed(lstm_3__b_gates=np.zeros(80, np.float32)),
      ["it has no 'lstm_3/b_gates'", "lstm_2/b_gates [80]"],
    ),
    (_changed(linear__w=np.zeros((20, 2), np.float32)), ["'linear/w' has shape (20, 2), expected (20, 1)"]),
    (
      _changed(linear=np.zeros(1, np.float32)),
      ["'linear' is both an array and the first part of 'linear/b'"],
    ),
    ({}, ["'linear/b' is missing", "'lstm_2/w_gates' is missing"]),
  ],
  ids=["missing", "extra", "shape", "array and folder", "empty"],
)
def test_arrays_of_another_optimizer_are_named(theta, words, tmp_path):
  with pytest.raises(ValueError) as error:
    load_learned(_write(tmp_path, theta=theta))
  message = _says(error)
  assert f"{tmp_path}/params.safetensors: " in message
  assert all(word in message for word in words), message


@every_kind
def test_a_builder_checks_the_weights_that_it_is_given(kind):
  theta = theta_of(kind)
  name, x = next(iter(named(theta).items()))
  wrong = jax.tree_util.tree_map(lambda y: jnp.zeros((9, 9)) if y is x else y, theta)
  with pytest.raises(ValueError) as error:
    KINDS[kind].build(wrong)
  assert _says(error) == f"theta of {kind}: '{name}' has shape (9, 9), expected {x.shape}"
  with pytest.raises(ValueError, match=f"theta is not one of {kind}: '{name}' is missing"):
    KINDS[kind].build({k: v for k, v in theta.items() if k != name.split("/")[0]})
  with pytest.raises(ValueError, match=f"theta is not one of {kind}: it has no 'extra/w'"):
    KINDS[kind].build({**theta, "extra": {"w": jnp.zeros(1)}})


def test_weights_of_one_kind_are_not_those_of_another(tmp_path):
  theta = {n: np.asarray(x) for n, x in named(theta_of("rnnprop")).items()}
  with pytest.raises(ValueError, match="theta is not one of l2o_dm: it has no 'input_projection/b'"):
    load_learned(_write(tmp_path, "l2o_dm", theta))


class _Trap:
  def __reduce__(self):
    return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize(
  "content", [pickle.dumps(_Trap()), b"", b"\xff" * 64], ids=["pickle", "empty", "noise"]
)
def test_a_file_that_is_no_safetensors_is_refused_and_never_unpickled(content, tmp_path):
  _write(tmp_path)
  (tmp_path / "params.safetensors").write_bytes(content)
  with pytest.raises(ValueError) as error:
    load_learned(tmp_path)
  message = _says(error)
  says = "is not a readable safetensors file" if content else "is empty"
  assert f"{tmp_path}/params.safetensors {says}" in message and "export it again" in message


def test_a_cut_off_file_is_refused(tmp_path):
  file = _write(tmp_path) / "params.safetensors"
  file.write_bytes(file.read_bytes()[:-40])
  with pytest.raises(ValueError, match="not a readable safetensors file"):
    load_learned(tmp_path)


@pytest.mark.parametrize(
  "text",
  [
    '{"config": {"optimizer": {"kind": "l2o_dm"',
    "",
    "[]",
    "{}",
    '{"config": {"optimizer": 3}}',
    '{"config": {"optimizer": {}}}',
  ],
)
def test_a_damaged_config_is_named(text, tmp_path):
  (_write(tmp_path) / "config.json").write_text(text)
  with pytest.raises(ValueError) as error:
    load_learned(tmp_path)
  assert _says(error).startswith(f"{tmp_path}/config.json does not describe a learned optimizer (")


@pytest.mark.parametrize("kind", ["adam", None, ["l2o_dm"]])
def test_an_unknown_kind_lists_the_kinds(kind, tmp_path):
  _write(tmp_path)
  (tmp_path / "config.json").write_text(json.dumps({"config": {"optimizer": {"kind": kind}}}))
  with pytest.raises(ValueError) as error:
    load_learned(tmp_path)
  assert _says(error) == f"{tmp_path}/config.json: unknown kind '{kind}', one of {', '.join(KINDS)}"


def test_an_option_that_the_kind_has_not_is_named(tmp_path):
  with pytest.raises(ValueError) as error:
    load_learned(_write(tmp_path, beta1=0.9))
  message = _says(error)
  assert f"{tmp_path}/config.json" in message and "'beta1'" in message


def test_an_option_that_is_given_and_the_kind_has_not_is_named():
  with pytest.raises(
    ValueError, match="unknown option of l2o_dm 'beta1': .*Choose one of scale, odd, state_dtype"
  ):
    learned("dm", beta1=0.9)


@pytest.mark.parametrize("file", ["params.safetensors", "config.json"])
def test_a_missing_file_is_named(file, tmp_path):
  (_write(tmp_path) / file).unlink()
  with pytest.raises(FileNotFoundError) as error:
    load_learned(tmp_path)
  assert _says(error) == f"no {file} in {tmp_path}: give the export/ folder of a meta-training run"


def test_a_missing_folder_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="no params.safetensors in .*/nowhere: give the export/ folder"):
    load_learned(tmp_path / "nowhere")
