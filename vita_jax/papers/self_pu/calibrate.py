"""Self-calibration: per unlabelled row, how much nnPU and how much entropy, by a gradient on validation rows.

The weights are those of one virtual SGD step: how would the validation loss change if row i's term had a
little more weight? At weight 0 the derivative is an inner product with the validation gradient v,

    u_ik = -d L_val(θ - δ Σ_jl ε_jl ∇c_jl) / d ε_ik = δ <v, ∇c_ik>,

and since c_ik depends on θ through row i's logit alone, <v, ∇c_ik> = c_ik'(g_i) ġ_i with ġ the ONE forward
derivative of all logits along v. The terms of a kind add up to one loss L_k of the batch (the mean entropy,
the uPU risk), so that c_ik'(g_i) is ∂L_k/∂g_i. No second-order graph; batch norm's coupling of rows is in ġ.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.losses.pu import binary_entropy, upu_risk


def meta_gradient(
  logits: jax.Array,
  tangent: jax.Array,
  labelled: jax.Array,
  *,
  prior: float | jax.Array,
  balance: float | None = None,
  rate: float = 1e-3,
  flipped_entropy: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """Computes (u_ce, u_pu), float [n]: how the validation loss falls per weight on either term of a row.

  Args:
    logits: float [n] at θ, in training mode.
    tangent: ġ, the derivative of the logits along v = ∇L_val(θ).
    labelled: [n].
    prior: of the risk, as is `balance` (see `pu_risk`).
    rate: δ of the virtual step.
    flipped_entropy: gives the entropy the wrong sign, as released.
  """
  ce = jax.grad(lambda g: jnp.mean(binary_entropy(g)))(logits)
  pu = jax.grad(lambda g: upu_risk(g, labelled, prior=prior, balance=balance))(logits)
  return (-rate if flipped_entropy else rate) * ce * tangent, rate * pu * tangent


def calibration_weights(
  u_ce: jax.Array,
  u_pu: jax.Array,
  labelled: jax.Array,
  *,
  budget: float = 1 / 16,
  budget_total: bool | jax.Array = False,
) -> tuple[jax.Array, jax.Array]:
  """Computes (w_ce, w_pu), rows summing to 1, from what `meta_gradient` returns; float [n] all.

  Negative u count as 0, w_pu gets 1e-10; each row is normalised; labelled positives are (0, 1). In the order
  of the batch, once the w_ce before a row reach budget * n, it and all later ones are (0, 1).

  Args:
    labelled: bool [n].
    budget: γ_c, the share of the batch that may go to entropy.
    budget_total: counts the not yet normalised u_ce of the rows from i on, too (as released for student 1).
  """
  raw = jnp.maximum(u_ce, 0.0)
  pu = jnp.maximum(u_pu, 0.0) + 1e-10
  ce = jnp.where(labelled, 0.0, raw / (raw + pu))
  before = jnp.cumsum(ce) - ce
  still = jnp.flip(jnp.cumsum(jnp.flip(raw)))
  spent = before + jnp.where(budget_total, still, 0.0)
  ce = jnp.where(spent >= budget * ce.shape[0], 0.0, ce)
  return ce, 1.0 - ce
