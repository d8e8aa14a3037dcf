"""The alternating game as one training step: encoder and head against restarted ensembles of adversaries.

min over f_d, f_T of L_T + gamma * sum_k J_B^k, where J_B is small when no adversary of attribute k is
confident; the adversaries descend their own cross-entropy L_b. No gradient of L_b reaches the encoder, and
the adversaries are constants of L_T + gamma J_B.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.data import tabular
from vita_jax.papers.pcal import losses, split
from vita_jax.papers.pcal.model import MLP, Ensemble, Moments, moments, normalize
from vita_jax.train.experiment import State, keep_best

MOMENTUM = 0.99  # of the running moments that evaluations during training use
ENCODED_AT_ONCE = 8  # batches for the adversaries


class Game(NamedTuple):
  """What does not change during a run: networks, optimizers and settings (`config` as in config.py)."""

  config: Any
  encoding: tabular.Encoding
  sizes: split.Parts
  n_classes: tuple[int, ...]
  encoder: MLP
  head: MLP
  ensemble: Ensemble
  tx: Mapping[str, optax.GradientTransformation]  # "encoder", "head", "adversary", "refit"

  def inputs(self, state: State, arrays: Mapping[str, jax.Array], rows: jax.Array) -> jax.Array:
    """Features float32 [..., p] of rows int32 [...], scaled as the training rows of this seed say."""
    encoding = self.encoding._replace(**state["scaler"])
    flat = rows.reshape(-1)
    x = tabular.assemble(encoding, arrays["numbers"][flat], arrays["codes"][flat], xp=jnp)
    return x.reshape(*rows.shape, -1)

  def labels(self, state: State, arrays: Mapping[str, jax.Array], rows: jax.Array) -> jax.Array:
    """Private classes int32 [K, n] of rows int32 [n]."""
    return split.class_labels(arrays["private"][rows], state["edges"], self.n_classes)

  def hidden(self, encoder: Any, x: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
    """What the encoder gives before it is normalised, float32 [n, m]; with a key for dropout, in training."""
    return self.encoder.apply({"params": encoder}, x, dropout)

  def adversary_loss(self, adversary: Any, z: jax.Array, labels: jax.Array) -> jax.Array:
    """L_b of each model, float32 [M, K]: mean cross-entropy of labels int32 [K, n] from z [n, m]."""
    logits = self.ensemble.apply(adversary, z)
    mask = split.class_mask(self.n_classes)[:, None, :]
    return jnp.mean(losses.cross_entropy(logits, labels[None], mask), axis=-1)

  def utility_loss(self, head: Any, z: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """L_T, the mean cross-entropy of target int32 [n], and the score log p_1 / p_0 [n]."""
    logits = self.head.apply({"params": head}, z)
    loss = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, target))
    return loss, logits[:, 1] - logits[:, 0]

  def training_z(self, encoder: Any, x: jax.Array, key: jax.Array) -> tuple[jax.Array, Moments]:
    """z [n, m] in training: a batch's own moments, fresh dropout and noise; and those moments."""
    h = self.hidden(encoder, x, jax.random.fold_in(key, 1))
    found = moments(h)
    return self.noised(normalize(h, found), key), found

  def frozen_z(self, state: State, arrays: Mapping[str, jax.Array], rows: jax.Array, key: jax.Array):
    """z [n, m] of rows int32 [n] as in use: by the running moments, which no batch moves; fresh noise."""
    h = self.hidden(state["params"]["encoder"], self.inputs(state, arrays, rows))
    return self.noised(normalize(h, state["moments"]), key)

  def noised(self, z: jax.Array, key: jax.Array) -> jax.Array:
    """z [n, m] and noise; what would be multiplied by zero is not drawn."""
    noise = self.config.noise
    return z + noise * jax.random.normal(key, z.shape) if noise else z

  def validation_rows(self, state: State) -> jax.Array:
    """int32 [n]: the rows that choices are made on."""
    return state["rows"][self.sizes.train : self.sizes.train + self.sizes.validation]


def draw(game: Game, state: State, key: jax.Array, n: int) -> jax.Array:
  """int32 [n, batch_size]: training rows for n minibatches, drawn with replacement."""
  # One call, where `randint` makes two; the share of a row is off by less than n_rows / 2^32.
  bits = jax.random.bits(key, (n, game.config.batch_size), jnp.uint32)
  return state["rows"][bits % jnp.uint32(game.sizes.train)]


def utility_step(game: Game, state: State, x: jax.Array, target: jax.Array, key: jax.Array):
  """One Adam step of encoder and head on L_T alone; returns the state and the loss before it."""

  def loss(params):
    z, found = game.training_z(params["encoder"], x, key)
    return game.utility_loss(params["head"], z, target)[0], found

  (value, found), grads = jax.value_and_grad(loss, has_aux=True)(state["params"])
  return _descend(game, state, grads, found), value


def _descend(game: Game, state: State, grads: Any, found: Moments) -> State:
  params, tx = dict(state["params"]), dict(state["tx"])
  for name in ("encoder", "head"):
    updates, tx[name] = game.tx[name].update(grads[name], tx[name], params[name])
    params[name] = optax.apply_updates(params[name], updates)
  running = jax.tree.map(lambda old, new: MOMENTUM * old + (1 - MOMENTUM) * new, state["moments"], found)
  return {**state, "params": params, "tx": tx, "moments": running}


def adversary_steps(game: Game, state: State, arrays: Any, rows: jax.Array, key: jax.Array):
  """An Adam step of all adversaries on L_b for each minibatch of rows int32 [n, batch_size], the encoder
  frozen; (the state, the last L_b [M, K])."""
  n = rows.shape[0]
  ceiling = game.config.monitor.adversary

  def encoded(this):
    rows, key = this
    return game.training_z(state["params"]["encoder"], game.inputs(state, arrays, rows), key)[0]

  def one(carry, this):
    adversary, tx = carry
    rows, z = this
    labels = game.labels(state, arrays, rows)

    def loss(adversary):
      each = game.adversary_loss(adversary, z, labels)
      return jnp.sum(each), each

    grads, each = jax.grad(loss, has_aux=True)(adversary)
    updates, new_tx = game.tx["adversary"].update(grads, tx, adversary)
    new = optax.apply_updates(adversary, updates), new_tx
    if ceiling < 1.0:
      guesses = jnp.argmax(game.ensemble.apply(adversary, z), axis=-1)
      go_on = jnp.mean(guesses == labels) < ceiling
      new = jax.tree.map(lambda x, old: jnp.where(go_on, x, old), new, carry)
    return new, each

  # The encoder is frozen: several batches at once, each with its own moments.
  z = jax.lax.map(encoded, (rows, jax.random.split(key, n)), batch_size=min(n, ENCODED_AT_ONCE))
  carry = state["adversary"], state["tx"]["adversary"]
  (adversary, tx), each = jax.lax.scan(one, carry, (rows, z))
  return {**state, "adversary": adversary, "tx": {**state["tx"], "adversary": tx}}, each[-1]


def restart(game: Game, state: State, arrays: Any, key: jax.Array) -> State:
  """New adversaries with new optimizer states, trained alone for `restart.steps`; the encoder stays."""
  fresh = game.ensemble.init(jax.random.fold_in(key, 0), game.config.latent)
  tx = {**state["tx"], "adversary": game.tx["adversary"].init(fresh)}
  state = {**state, "adversary": fresh, "tx": tx, "restarts": state["restarts"] + 1}
  if game.config.restart.steps == 0:
    return state
  rows_key, noise_key = jax.random.split(jax.random.fold_in(key, 1))
  rows = draw(game, state, rows_key, game.config.restart.steps)
  return adversary_steps(game, state, arrays, rows, noise_key)[0]


def judge(game: Game, state: State, arrays: Any, key: jax.Array) -> State:
  """Keeps encoder, head and adversaries if L_T + gamma sum_k leak_k on validation rows is the least so far.

  leak_k = max over the adversaries of max(0, H(prior_k) - L_b), in nats. It means something right after a
  restart, when the adversaries are new to this encoder.
  """
  rows = game.validation_rows(state)
  z = game.frozen_z(state, arrays, rows, key)
  utility, _ = game.utility_loss(state["params"]["head"], z, arrays["target"][rows])
  cross_entropy = game.adversary_loss(state["adversary"], z, game.labels(state, arrays, rows))
  prior = state["prior"]
  entropy = -jnp.sum(prior * jnp.log(jnp.where(prior > 0, prior, 1.0)), axis=-1)
  leak = jnp.sum(jnp.max(jnp.maximum(entropy - cross_entropy, 0.0), axis=0))
  return keep_best(state, -(utility + state["gamma"] * leak), players(state))


def players(state: State) -> State:
  """What is kept together: adversaries of another encoder would say nothing of this one."""
  return {name: state[name] for name in ("params", "adversary")}


def make_step(game: Game) -> Callable:
  """`step(state, batch, t)` of the game; `batch` holds the arrays of all rows (inputs.Task)."""
  config = game.config
  mask = split.class_mask(game.n_classes)
  every, last = config.restart.every, int(config.restart.until * config.steps)

  def encoder_loss(params, adversary, state, x, target, labels, key):
    z, found = game.training_z(params["encoder"], x, key)
    utility, _ = game.utility_loss(params["head"], z, target)
    logits = game.ensemble.apply(jax.lax.stop_gradient(adversary), z)
    risk = losses.privacy_risk(config.loss, logits, labels, mask, state["prior"], reduction=config.reduction)
    total = utility + state["gamma"] * jnp.sum(risk)
    return total, (found, utility, risk)

  def step(state: State, batch, t):
    key = jax.random.fold_in(state["key"], t)
    keys = jax.random.split(key, 6)

    def renew(state):
      state = restart(game, state, batch, keys[0])
      return judge(game, state, batch, keys[1]) if config.select == "validation" else state

    if every:
      # On `t`, which is never batched: a real branch for replicas, too.
      state = jax.lax.cond((t % every == 0) & (t <= last), renew, lambda s: s, state)
    drawn = draw(game, state, keys[2], 1 + config.adversary.steps)
    rows = drawn[0]
    x, target = game.inputs(state, batch, rows), batch["target"][rows]
    labels = game.labels(state, batch, rows)
    grad = jax.grad(encoder_loss, has_aux=True)
    grads, (found, utility, risk) = grad(
      state["params"], state["adversary"], state, x, target, labels, keys[3]
    )
    state = _descend(game, state, grads, found)
    for i in range(config.monitor.utility_steps):
      state = _guarded_utility_step(game, state, batch, jax.random.fold_in(keys[4], i))
    values = {"utility_loss": utility, "privacy_risk": jnp.sum(risk)}
    if config.adversary.steps:
      state, each = adversary_steps(game, state, batch, drawn[1:], keys[5])
      values |= _adversary_values(each)
    return state, _values(**values)

  return step


def _guarded_utility_step(game: Game, state: State, arrays: Any, key: jax.Array) -> State:
  """A step on L_T, taken where the AUC on a batch of validation rows is below `monitor.utility`."""
  keys = jax.random.split(key, 4)
  sizes, shape = game.sizes, (game.config.batch_size,)
  held_out = state["rows"][sizes.train + jax.random.randint(keys[0], shape, 0, sizes.validation)]
  z, target = game.frozen_z(state, arrays, held_out, keys[3]), arrays["target"][held_out]
  score = game.utility_loss(state["params"]["head"], z, target)[1]
  below = losses.auc(score, target) < game.config.monitor.utility
  rows = draw(game, state, keys[1], 1)[0]
  new, _ = utility_step(game, state, game.inputs(state, arrays, rows), arrays["target"][rows], keys[2])
  return jax.tree.map(lambda x, old: jnp.where(below, x, old), new, state)


def make_pretrain_step(game: Game) -> Callable:
  """Encoder and head on the utility loss alone, as the game with gamma 0 and no adversaries."""

  def step(state: State, batch, t):
    keys = jax.random.split(jax.random.fold_in(state["key"], t), 6)
    rows = draw(game, state, keys[2], 1)[0]
    x = game.inputs(state, batch, rows)
    state, value = utility_step(game, state, x, batch["target"][rows], keys[3])
    return state, _values(utility_loss=value)

  return step


def make_refit_step(game: Game) -> Callable:
  """A new head on the frozen encoder, whose moments are fixed by now."""

  def step(state: State, batch, t):
    keys = jax.random.split(jax.random.fold_in(state["key"], t), 2)
    rows = draw(game, state, keys[0], 1)[0]
    z, target = game.frozen_z(state, batch, rows, keys[1]), batch["target"][rows]

    def loss(head):
      return game.utility_loss(head, z, target)[0]

    value, grads = jax.value_and_grad(loss)(state["params"]["head"])
    updates, tx = game.tx["refit"].update(grads, state["tx"]["refit"], state["params"]["head"])
    params = {**state["params"], "head": optax.apply_updates(state["params"]["head"], updates)}
    new = {**state, "params": params, "tx": {"refit": tx}}
    return new, _values(utility_loss=value)

  return step


def make_validation(game: Game) -> Callable:
  """`(state, arrays of all rows) -> metrics` on the validation rows of this seed, for the curves of a run."""

  def validate(state: State, batch):
    rows = game.validation_rows(state)
    z = game.frozen_z(state, batch, rows, state["key"])  # the same noise each time
    loss, score = game.utility_loss(state["params"]["head"], z, batch["target"][rows])
    values = {"utility_loss": loss, "utility_auc": losses.auc(score, batch["target"][rows])}
    if "adversary" in state:
      each = game.adversary_loss(state["adversary"], z, game.labels(state, batch, rows))
      values |= _adversary_values(each)
    return _values(**values)

  return validate


def _adversary_values(each: jax.Array) -> dict[str, jax.Array]:
  """Of losses [M, K]: their mean, and that of the strongest adversary of each attribute."""
  return {"adversary_loss": jnp.mean(each), "strongest_adversary_loss": jnp.mean(jnp.min(each, axis=0))}


def _values(**values: jax.Array) -> dict[str, tuple[jax.Array, jax.Array]]:
  """Metrics of one step or one pass, of weight 1 each."""
  return {name: (value, jnp.asarray(1.0)) for name, value in values.items()}
