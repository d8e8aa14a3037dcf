"""Nettack as one reads it in the paper: dense matrices, one candidate after the other, no increments."""

import numpy as np


def normalized(a):
  """D^-1/2 (A + I) D^-1/2 of a dense matrix."""
  with_self = a + np.eye(len(a))
  s = with_self.sum(1) ** -0.5
  return s[:, None] * with_self * s


def logits(a, x, w, node):
  return (normalized(a) @ normalized(a))[node] @ x @ w


def margin(z, label):
  return z[label] - max(z[c] for c in range(len(z)) if c != label)


def log_likelihood(degrees, slip):
  degrees = [d for d in degrees if d >= 2]
  n, s = len(degrees), sum(np.log(d) for d in degrees)
  alpha = 1 + n / (s - n * np.log(1.5))
  return n * np.log(alpha) + n * alpha * np.log(2) + (1 if slip else -1) * (alpha + 1) * s


def degree_ratio(before, after, slip):
  both = log_likelihood([*before, *after], slip)
  return -2 * both + 2 * (log_likelihood(before, slip) + log_likelihood(after, slip))


def flip(a, u, v):
  a = a.copy()
  a[u, v] = a[v, u] = 1 - a[u, v]
  return a


def links_only(a):
  return a - np.diag(np.diag(a))


def attack(a, x, w, u, label, n_links, n_words, threshold=0.004, slip=False):
  """Returns (other ends of the links flipped, features flipped)."""
  start, links, words = links_only(a).sum(1), [], []
  for _ in range(n_links):
    best, chosen = np.inf, None
    for v in set(range(len(a))) - {u, *links}:
      new = flip(a, u, v)
      degrees = links_only(new).sum(1)
      if a[u, v] and (degrees[u] == 0 or degrees[v] == 0):
        continue
      if not degree_ratio(start, degrees, slip) < threshold:
        continue
      found = margin(logits(new, x, w, u), label)
      if found < best - 1e-12:
        best, chosen = found, v
    if chosen is None:
      break
    links.append(chosen)
    a = flip(a, u, chosen)
  together = (x.T @ x > 0) & ~np.eye(x.shape[1], dtype=bool)
  own = np.flatnonzero(x[u])
  weight = {i: 1 / together[i].sum() if together[i].any() else 0 for i in own}
  start, x = x, x.copy()
  for _ in range(n_words):
    best, chosen = np.inf, None
    here = (normalized(a) @ normalized(a))[u]
    z = here @ x @ w
    rival = max((c for c in range(len(z)) if c != label), key=lambda c: z[c])
    for f in set(range(x.shape[1])) - set(words):
      common = sum(weight[i] for i in own if together[f, i])
      if not start[u, f] and not common > 0.5 * sum(weight.values()):
        continue
      change = here[u] * (1 - 2 * x[u, f]) * (w[f, label] - w[f, rival])
      if change < best - 1e-12:
        best, chosen = change, f
    if chosen is None:
      break
    words.append(chosen)
    x[u, chosen] = 1 - x[u, chosen]
  return links, words
