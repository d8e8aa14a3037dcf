"""Nettack: greedy flips of one node's links and features against a linearised graph network.

Threat model: evasion (the network is trained on the clean graph), transfer (the attacker reads a surrogate
`Z = Â² X W` of its own, not the network), direct (only links and features of the target change). Against a
defence it is an optimistic measure: see `attacks.pr_bcd` for an attacker who reads the network itself.

Every candidate's logits are found in closed form in O(N C) for all N at once, in float64, so that the choice
is that of a dense recomputation of Â². Source: Zügner, Akbarnejad, Günnemann, KDD 2018 (arXiv 1805.07984),
sections 4 and 5, in the form of SS-GCN's appendix: links first, then features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from vita_jax.attacks.graph_edits import Flips, apply_flips, check_attackable, links_matrix
from vita_jax.data.graphs import Graph

MIN_DEGREE = 2  # nodes from which on degrees follow the power law of the test
DEGREE_THRESHOLD = 0.004  # of the likelihood ratio: the 95 % point of the paper's section 4.1


class Surrogate(NamedTuple):
  """A graph as the attacker sees it, prepared once for all targets.

  Attributes:
    links: 0/1 float64 CSR [N, N], without self-loops.
    loops: float64 [N], the diagonal of A + I: 2 where the graph has a raw self-loop, else 1.
    projected: float64 [N, C], X W, with X as it is (0 and 1).
    weight: float64 [F, C].
    features: CSR [N, F].
    words: CSR [F, F], 1 where two features occur in one node; None where features are not flipped.
  """

  links: sp.csr_matrix
  loops: np.ndarray
  projected: np.ndarray
  weight: np.ndarray
  features: sp.csr_matrix
  words: sp.csr_matrix | None


class _Local(NamedTuple):
  """A target's neighbourhood as it stands; all flips touch the target, so this is all that changes.

  row [N]: its links; degree [N]: row sums of A + I; sums [N, C]: (A + I) D^-1/2 X W.
  """

  target: int
  row: np.ndarray
  degree: np.ndarray
  sums: np.ndarray


def prepare(graph: Graph, weight: np.ndarray, *, features: bool = True) -> Surrogate:
  """Prepares the attacker's view of a graph.

  Args:
    graph: unweighted. A raw self-loop counts in Â, and is no link: it saves no node from being a singleton.
    weight: float [F, C], W of the surrogate, e.g. of `attacks.surrogate.train_surrogate`.
    features: whether features will be flipped; False spares the co-occurrence matrix.

  Raises:
    ValueError: see `check_attackable`; or a weight of another shape, or not finite.
  """
  check_attackable(graph, features=features)
  n_nodes, n_features = graph.features.shape
  weight = np.asarray(weight, np.float64)
  if weight.ndim != 2 or len(weight) != n_features or weight.shape[1] < 2:
    raise ValueError(f"weight has shape {list(weight.shape)}, need [{n_features}, classes], two at least")
  if not np.isfinite(weight).all():
    raise ValueError("weight holds NaN or infinite values")
  loops = np.ones(n_nodes)
  loops[graph.self_loops] += 1
  x = graph.features.astype(np.float64)
  return Surrogate(
    links=links_matrix(graph),
    loops=loops,
    projected=np.asarray(x @ weight),
    weight=weight,
    features=x,
    words=_cooccurrence(x) if features else None,
  )


def nettack(
  surrogate: Surrogate,
  target: int,
  label: int,
  *,
  n_links: int = 0,
  n_words: int = 0,
  degree_threshold: float = DEGREE_THRESHOLD,
  released_sign: bool = False,
) -> Flips:
  """Chooses flips of one node's links, then of its features, each the one that lowers the margin most.

  The margin is `Z_label - max over the other classes of Z_c`. A link flip must leave both ends with a link,
  and the degrees with a likelihood ratio below `degree_threshold`; a feature may be removed, or added where
  it occurs with enough of those the node has (`allowed_words`). Nothing is flipped twice. The attack stops
  early where no flip is admissible, so that fewer flips than the budget may come back. A budget above the
  target's degree is no fault: links are added, too. A target without links can only gain some.

  Args:
    surrogate: from `prepare`.
    target: the node u.
    label: its class, or, where that is unknown, what the attacked network predicts.
    n_links: budget of link flips.
    n_words: budget of feature flips; the paper's is ten for each link.
    degree_threshold: inf switches the test off.
    released_sign: take the log-likelihood with the sign slip of the released code, `+(α + 1) S`.

  Raises:
    ValueError: a target or a label that does not exist; a budget below 0; or features that were not prepared.
  """
  n_nodes, n_classes = surrogate.projected.shape
  if not 0 <= target < n_nodes:
    raise ValueError(f"target {target} is no node: the graph has {n_nodes}, numbered from 0")
  if not 0 <= label < n_classes:
    raise ValueError(
      f"target {target} has label {label}, need 0 .. {n_classes - 1}: for a node without label give the"
      " predicted one"
    )
  if n_links < 0 or n_words < 0:
    raise ValueError(f"budgets must not be negative, got {n_links} links and {n_words} words")
  if n_words and surrogate.words is None:
    raise ValueError("features are to be flipped: prepare(..., features=True)")
  links: list[int] = []
  local = _start(surrogate, target)
  original = _degrees(local, surrogate)
  for _ in range(n_links):
    margins = _margins(link_logits(surrogate, local), label)
    forbidden = _singletons(local, surrogate) | ~_unnoticeable(
      local, surrogate, original, degree_threshold, released_sign
    )
    forbidden[[target, *links]] = True
    margins[forbidden] = np.inf
    other = int(margins.argmin())
    if not np.isfinite(margins[other]):
      break
    links.append(other)
    local = _flipped(surrogate, local, other)
  words = _choose_words(surrogate, local, label, n_words) if n_words else []
  return Flips(target, np.array(links, np.int32), np.array(words, np.int32))


def accumulate(
  graph: Graph, weight: np.ndarray, targets: np.ndarray, labels: np.ndarray, *, n_links: int, n_words: int
) -> Graph:
  """Attacks nodes one after the other, each on the graph that the attacks before it left.

  Args:
    graph: the clean graph; it is not changed.
    weight: see `prepare`, which is called anew for each target.
    targets: int [T], in this order.
    labels: int [T], usually what a network predicts.
    n_links: budget of links of each target.
    n_words: budget of features of each target.

  Source: the released code of SS-GCN's adversarial training.
  """
  for target, label in zip(targets, labels, strict=True):
    surrogate = prepare(graph, weight, features=n_words > 0)
    graph = apply_flips(graph, nettack(surrogate, int(target), int(label), n_links=n_links, n_words=n_words))
  return graph


def surrogate_margin(surrogate: Surrogate, target: int, label: int) -> float:
  """Computes the surrogate's margin of a node on the graph as it is."""
  return float(_margins(_logits(surrogate, _start(surrogate, target))[None], label)[0])


def link_logits(surrogate: Surrogate, local: _Local) -> np.ndarray:
  """Computes the target's logits after a flip of its link with v, for every v at once: float64 [N, C].

  With s = D^-1/2, g = s X W and P = (A + I) g, a node's logits are `s_u Σ_k a_uk s_k² P_k`. A flip of (u, v)
  changes s_u, s_v and the entry a_uv, hence P_k by a_ku Δg_u + a_kv Δg_v. The row of v = u has no meaning.
  """
  u, a, degree, sums = local
  h, loops = surrogate.projected, surrogate.loops
  s = degree**-0.5
  delta = 1 - 2 * a
  entry = (a + delta)[:, None]
  su, sv = ((d + delta)[:, None] ** -0.5 for d in (degree[u], degree))
  g, old = s[:, None] * h, a[:, None]
  change_u, change_v = (su - s[u]) * h[u], (sv - s[:, None]) * h
  sums_u = sums[u] + loops[u] * change_u + entry * sv * h - old * g
  sums_v = sums + loops[:, None] * change_v + entry * su * h[u] - old * g[u]
  near = a / degree  # a_uk s_k²
  neighbours = np.flatnonzero(a)
  # Σ over k other than u and v: of P_k, of a_ku, of a_kv.
  rest = near @ sums - near[:, None] * sums
  to_u = (a @ near - a * near)[:, None]
  to_v = (surrogate.links[neighbours].T @ near[neighbours])[:, None]
  own = loops[u] * su**2 * sums_u + entry * sv**2 * sums_v
  return su * (own + rest + to_u * change_u + to_v * change_v)


def allowed_words(surrogate: Surrogate, target: int) -> np.ndarray:
  """Returns which features may be added to a node: those that occur together with enough of its own.

  Feature w is allowed where `Σ over own words that occur with w of 1/deg > 1/2 Σ over own words of 1/deg`,
  deg counting the features that a feature occurs with in any node.  bool [F].
  """
  assert surrogate.words is not None
  own = surrogate.features[target].indices
  degree = np.asarray(surrogate.words.sum(axis=0)).ravel()[own]
  inverse = np.divide(1.0, degree, out=np.zeros(len(own)), where=degree > 0)
  return np.asarray(surrogate.words[:, own] @ inverse).ravel() > 0.5 * inverse.sum()


def degree_ratio(
  n: np.ndarray, log_sum: np.ndarray, original: tuple[float, float], *, released_sign: bool = False
) -> np.ndarray:
  """Computes the likelihood ratio of "both degree sequences follow one power law" against "each its own".

  `Λ = -2 ll(both) + 2 (ll(new) + ll(original))`, `ll = n ln α + n α ln d_min - (α + 1) S` and
  `α = 1 + n / (S - n ln(d_min - 1/2))` over the n degrees of at least d_min = 2, S the sum of their logs.

  Args:
    n: float [...], of the new sequences.
    log_sum: float [...], S of the same.
    original: (n, S) of the sequence they are compared with.
    released_sign: `+(α + 1) S`, as the released code has it.

  Source: section 4.1 of the Nettack paper, equations 6 to 10.
  """
  n0, s0 = original
  sign = 1.0 if released_sign else -1.0

  def likelihood(count, total):
    with np.errstate(divide="ignore", invalid="ignore"):
      alpha = 1 + count / (total - count * np.log(MIN_DEGREE - 0.5))
      return count * (np.log(alpha) + alpha * np.log(MIN_DEGREE)) + sign * (alpha + 1) * total

  return -2 * likelihood(n + n0, log_sum + s0) + 2 * (likelihood(n, log_sum) + likelihood(n0, s0))


def _cooccurrence(x: sp.csr_matrix) -> sp.csr_matrix:
  words = sp.csr_matrix(x.T @ x)
  words.setdiag(0)
  words.eliminate_zeros()
  words.data[:] = 1
  return words


def _start(surrogate: Surrogate, target: int) -> _Local:
  degree = surrogate.loops + np.asarray(surrogate.links.sum(axis=1)).ravel()
  g = degree[:, None] ** -0.5 * surrogate.projected
  sums = surrogate.links @ g + surrogate.loops[:, None] * g
  return _Local(target, surrogate.links[target].toarray().ravel(), degree, sums)


def _flipped(surrogate: Surrogate, local: _Local, other: int) -> _Local:
  """Returns the neighbourhood after a flip of the target's link with `other`."""
  u, h = local.target, surrogate.projected
  delta = 1 - 2 * local.row[other]
  degree, row, sums = local.degree.copy(), local.row.copy(), local.sums.copy()
  degree[[u, other]] += delta
  into_other = surrogate.links[other].toarray().ravel()
  into_other[u] = row[other]
  for node, column in ((u, row), (other, into_other)):
    change = (degree[node] ** -0.5 - local.degree[node] ** -0.5) * h[node]
    sums += np.outer(column, change)
    sums[node] += surrogate.loops[node] * change
  sums[u] += delta * degree[other] ** -0.5 * h[other]
  sums[other] += delta * degree[u] ** -0.5 * h[u]
  row[other] += delta
  return _Local(u, row, degree, sums)


def _logits(surrogate: Surrogate, local: _Local) -> np.ndarray:
  """Computes the target's logits [C] on the graph as it stands."""
  u = local.target
  s = local.degree[u] ** -0.5
  own = surrogate.loops[u] * s**2 * local.sums[u]
  return s * (own + (local.row / local.degree) @ local.sums)


def _margins(logits: np.ndarray, label: int) -> np.ndarray:
  return logits[:, label] - np.delete(logits, label, axis=1).max(axis=1)


def _degrees(local: _Local, surrogate: Surrogate) -> tuple[float, float]:
  """Returns how many nodes have the least degree of the power law, and the sum of their log degrees."""
  degree = local.degree - surrogate.loops
  logs = np.log(degree[degree >= MIN_DEGREE])
  return float(len(logs)), float(logs.sum())


def _singletons(local: _Local, surrogate: Surrogate) -> np.ndarray:
  """Returns which flips would leave one end without a link: bool [N]."""
  degree = local.degree - surrogate.loops
  return (local.row > 0) & ((degree <= 1) | (degree[local.target] <= 1))


def _unnoticeable(
  local: _Local, surrogate: Surrogate, original: tuple[float, float], threshold: float, released_sign: bool
) -> np.ndarray:
  """Returns which flips pass the degree test: bool [N]; no nodes of the least degree, no test."""
  n, log_sum = _degrees(local, surrogate)
  degree, delta = local.degree - surrogate.loops, 1 - 2 * local.row
  counts, sums = np.full(len(degree), n), np.full(len(degree), log_sum)
  for before in (degree, np.full(len(degree), degree[local.target])):
    for values, sign in ((before, -1), (before + delta, 1)):
      counted = values >= MIN_DEGREE
      counts += sign * counted
      sums += sign * np.log(np.where(counted, values, 1.0))
  ratio = degree_ratio(counts, sums, original, released_sign=released_sign)
  return ~(ratio >= threshold)


def _choose_words(surrogate: Surrogate, local: _Local, label: int, n_words: int) -> list[int]:
  """Chooses features: the margin changes by ±[Â²]_uu (W_label - W_best other) with each."""
  u = local.target
  present = surrogate.features[u].toarray().ravel() > 0
  candidates = present | allowed_words(surrogate, u)
  s2 = 1 / local.degree[u]
  share = s2 * (surrogate.loops[u] ** 2 * s2 + local.row @ (local.row / local.degree))  # [Â²]_uu
  logits, chosen = _logits(surrogate, local), []
  for _ in range(min(n_words, int(candidates.sum()))):
    others = np.where(np.arange(len(logits)) == label, -np.inf, logits)
    gradient = share * (surrogate.weight[:, label] - surrogate.weight[:, others.argmax()])
    gain = np.where(candidates, np.where(present, gradient, -gradient), -np.inf)
    word = int(gain.argmax())
    chosen.append(word)
    candidates[word] = False
    logits = logits + share * surrogate.weight[word] * (-1 if present[word] else 1)
  return chosen
