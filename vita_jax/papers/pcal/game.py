"""The alternating game: encoder and head against restarted ensembles of adversaries.

min over f_d, f_T of L_T + gamma * sum_k J_B^k, where J_B is small when no adversary of attribute k is
confident; the adversaries descend their own cross-entropy L_b. No gradient of L_b reaches the encoder, and
the adversaries are constants of L_T + gamma J_B. The steps of training are in steps.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.data import tabular
from vita_jax.data.splits import Parts, part_sizes
from vita_jax.papers.pcal import losses, split
from vita_jax.papers.pcal.data import Task
from vita_jax.papers.pcal.model import MLP, Ensemble, Moments, make_ensemble, moments, normalize, run
from vita_jax.papers.pcal.recipe import Recipe
from vita_jax.train.experiment import State, keep_best

ENCODED_AT_ONCE = 8  # batches for the adversaries
FLOOR = 0.1  # the share of the learning rate to which it falls


class Game(NamedTuple):
  """What does not change during a run: settings, networks and optimizers.

  `tx` has the optimizers "encoder", "head", "adversary" and "refit".
  """

  recipe: Recipe
  encoding: tabular.Encoding
  sizes: Parts
  n_classes: tuple[int, ...]
  encoder: MLP
  head: MLP
  ensemble: Ensemble
  tx: Mapping[str, optax.GradientTransformation]

  def inputs(self, state: State, arrays: Mapping[str, jax.Array], rows: jax.Array) -> jax.Array:
    """Returns features float32 [..., p] of rows int32 [...], scaled as this seed's training rows say."""
    encoding = tabular.scaled_by(self.encoding, state["scaler"])
    flat = rows.reshape(-1)
    x = tabular.assemble(encoding, arrays["numbers"][flat], arrays["codes"][flat], xp=jnp)
    return x.reshape(*rows.shape, -1)

  def labels(self, state: State, arrays: Mapping[str, jax.Array], rows: jax.Array) -> jax.Array:
    """Returns the private classes int32 [K, n] of rows int32 [n]."""
    return split.class_labels(arrays["private"][rows], state["edges"], self.n_classes)

  def hidden(self, encoder: Any, x: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
    """Computes the encoder's outputs before normalisation, float32 [n, m]; `dropout`: a key, in training."""
    return run(self.encoder, encoder, x, dropout)

  def adversary_loss(self, adversary: Any, z: jax.Array, labels: jax.Array) -> jax.Array:
    """Computes L_b of each model, float32 [M, K]: mean cross-entropy of labels int32 [K, n] from z [n, m]."""
    logits = self.ensemble.apply(adversary, z)
    mask = split.class_mask(self.n_classes)[:, None, :]
    return jnp.mean(losses.cross_entropy(logits, labels[None], mask), axis=-1)

  def utility_loss(self, head: Any, z: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes L_T, the mean cross-entropy of target int32 [n], and the score log p_1 / p_0 [n]."""
    logits = run(self.head, head, z)
    loss = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, target))
    return loss, logits[:, 1] - logits[:, 0]

  def training_z(self, encoder: Any, x: jax.Array, key: jax.Array) -> tuple[jax.Array, Moments]:
    """Computes z [n, m] in training (a batch's own moments, fresh dropout and noise) and those moments."""
    h = self.hidden(encoder, x, jax.random.fold_in(key, 1))
    found = moments(h)
    return self.noised(normalize(h, found), key), found

  def frozen_z(
    self, state: State, arrays: Mapping[str, jax.Array], rows: jax.Array, key: jax.Array
  ) -> jax.Array:
    """Computes z [n, m] of rows int32 [n] as in use: by the running moments; fresh noise."""
    h = self.hidden(state["params"]["encoder"], self.inputs(state, arrays, rows))
    return self.noised(normalize(h, state["moments"]), key)

  def noised(self, z: jax.Array, key: jax.Array) -> jax.Array:
    """Adds noise to z [n, m]; what would be multiplied by zero is not drawn."""
    noise = self.recipe.noise
    return z + noise * jax.random.normal(key, z.shape) if noise else z

  def validation_rows(self, state: State) -> jax.Array:
    """Returns the rows that choices are made on, int32 [n]."""
    return state["rows"][self.sizes.train : self.sizes.train + self.sizes.validation]


def make_game(recipe: Recipe, task: Task) -> Game:
  """Makes the networks and optimizers of a recipe."""
  rate = recipe.learning_rate
  falling = optax.join_schedules(
    [
      optax.constant_schedule(rate),
      optax.cosine_decay_schedule(rate, max(3 * recipe.steps // 10, 1), alpha=FLOOR),
    ],
    [7 * recipe.steps // 10],
  )
  decay = optax.add_decayed_weights(recipe.head_weight_decay)
  refit = optax.cosine_decay_schedule(recipe.refit_learning_rate, recipe.refit_steps)
  return Game(
    recipe=recipe,
    encoding=task.encoding,
    sizes=part_sizes(task.n_rows),
    n_classes=task.n_classes,
    encoder=MLP(
      recipe.encoder_widths, recipe.latent, last_bias=False, dropout=recipe.dropout, dtype=recipe.dtype
    ),
    head=MLP(recipe.head_widths, 2, dtype=recipe.dtype),
    ensemble=make_ensemble(
      recipe.adversary_widths,
      n_attributes=len(task.n_classes),
      n_classes=max(n or split.BINS for n in task.n_classes),
    ),
    tx={
      "encoder": optax.adam(falling),
      "head": optax.chain(decay, optax.adam(falling)),
      "adversary": optax.adam(recipe.adversary_learning_rate),
      "refit": optax.chain(decay, optax.adam(refit)),
    },
  )


def draw(game: Game, state: State, key: jax.Array, n: int) -> jax.Array:
  """Draws training rows for n minibatches with replacement, int32 [n, batch_size]."""
  # One call, where `randint` makes two; the share of a row is off by less than n_rows / 2^32.
  bits = jax.random.bits(key, (n, game.recipe.batch_size), jnp.uint32)
  return state["rows"][bits % jnp.uint32(game.sizes.train)]


def adversary_steps(
  game: Game, state: State, arrays: Any, rows: jax.Array, key: jax.Array
) -> tuple[State, jax.Array]:
  """Takes an Adam step of all adversaries on L_b for each minibatch, the encoder frozen.

  Args:
    rows: int32 [n, batch_size].
    key: of dropout and noise.

  Returns:
    The state, and the last L_b [M, K].
  """
  n = rows.shape[0]

  def encoded(this):
    rows, key = this
    return game.training_z(state["params"]["encoder"], game.inputs(state, arrays, rows), key)[0]

  def one(carry, this):
    rows, z = this
    return _adversary_step(game, carry, z, game.labels(state, arrays, rows))

  # The encoder is frozen: several batches at once, each with its own moments.
  z = jax.lax.map(encoded, (rows, jax.random.split(key, n)), batch_size=min(n, ENCODED_AT_ONCE))
  carry = state["adversary"], state["tx"]["adversary"]
  (adversary, tx), each = jax.lax.scan(one, carry, (rows, z))
  return {**state, "adversary": adversary, "tx": {**state["tx"], "adversary": tx}}, each[-1]


def _adversary_step(
  game: Game, carry: tuple[Any, Any], z: jax.Array, labels: jax.Array
) -> tuple[tuple[Any, Any], jax.Array]:
  """Takes a step of (adversaries, their Adam state) on z [n, m]; those that are right often enough rest."""
  adversary, tx = carry

  def loss(adversary):
    each = game.adversary_loss(adversary, z, labels)
    return jnp.sum(each), each

  grads, each = jax.grad(loss, has_aux=True)(adversary)
  updates, new_tx = game.tx["adversary"].update(grads, tx, adversary)
  new = optax.apply_updates(adversary, updates), new_tx
  if (ceiling := game.recipe.monitor_adversary) < 1.0:
    guesses = jnp.argmax(game.ensemble.apply(adversary, z), axis=-1)
    go_on = jnp.mean(guesses == labels) < ceiling
    new = jax.tree.map(lambda x, old: jnp.where(go_on, x, old), new, carry)
  return new, each


def restart(game: Game, state: State, arrays: Any, key: jax.Array) -> State:
  """Puts in new adversaries with new optimizer states and trains them alone; the encoder stays."""
  fresh = game.ensemble.init(jax.random.fold_in(key, 0), game.recipe.latent)
  tx = {**state["tx"], "adversary": game.tx["adversary"].init(fresh)}
  state = {**state, "adversary": fresh, "tx": tx, "restarts": state["restarts"] + 1}
  if game.recipe.restart_steps == 0:
    return state
  rows_key, noise_key = jax.random.split(jax.random.fold_in(key, 1))
  rows = draw(game, state, rows_key, game.recipe.restart_steps)
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
  """Returns what is kept together: adversaries of another encoder would say nothing of this one."""
  return {name: state[name] for name in ("params", "adversary")}
