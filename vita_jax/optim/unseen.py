"""Problems of other kinds than those that general optimizers are trained on, to compare optimizers on.

    python launch/l2o/optimize.py --task=vita_jax.optim.unseen:citeseer_gcn --optimizer=adam,lion ...

A small BERT on sentences, a graph network, a positive-unlabelled risk, a table, a denoiser of photographs.
Each function reads its data once, keeps it with the problem and returns an `Optimizee`. Citeseer and the
credit data ship with the package; MNIST, SST-2 and the photographs are read from $VITA_DATA_DIR.
"""

from __future__ import annotations

import collections
import functools
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.data import tabular
from vita_jax.data.augment import center_crop
from vita_jax.data.credit import SCHEMAS
from vita_jax.data.graphs import load_graph, normalize_rows
from vita_jax.data.images import load_images
from vita_jax.data.photographs import load_photographs
from vita_jax.data.schema import parse_schema
from vita_jax.data.sources import load
from vita_jax.data.tables import as_table
from vita_jax.data.text import load_glue
from vita_jax.losses.pu import nnpu_objective_of, pu_risk
from vita_jax.nn import sparse
from vita_jax.nn.bert_config import BertConfig
from vita_jax.nn.bert_encoder import Bert
from vita_jax.nn.conv import convolve
from vita_jax.nn.dropout import dropout, dropout_sparse
from vita_jax.nn.graph import adjacency, propagate
from vita_jax.nn.norm import batch_norm
from vita_jax.optim.families import init_dense
from vita_jax.optim.optimizees import Optimizee, as_float

Tree = Any
WORDS, TOKENS, WIDTH = 2000, 16, 128  # of the BERT
LABELLED, UNLABELLED = 1000, 10_000  # of MNIST
SIDE, NOISE = 32, 0.1  # of the crops of photographs, and the deviation of what is added to them


@functools.cache
def bert_tiny() -> Optimizee:
  """Returns a BERT of 2 layers of 128, from random weights, on the first 15 words of SST-2's sentences.

  It knows the 2,000 most frequent words, and has no dropout; the classifier is a dense layer on the pooled
  output. 0.7 million parameters.
  """
  texts = load_glue("sst2")["train"]
  words = [re.findall(r"[a-z']+", text.lower())[: TOKENS - 1] for text in texts.first]
  counts = collections.Counter(word for row in words for word in row)
  frequent = sorted(counts, key=lambda word: (-counts[word], word))[: WORDS - 3]
  number = {word: i for i, word in enumerate(frequent, 3)}  # after padding, the start and unknown words
  ids = np.zeros((len(words), TOKENS), np.int16)
  for i, row in enumerate(words):
    ids[i, : len(row) + 1] = [1, *(number.get(word, 2) for word in row)]
  labels = np.asarray(texts.labels, np.int8)
  config = BertConfig(
    vocab_size=WORDS,
    hidden_size=WIDTH,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=4 * WIDTH,
    max_position_embeddings=TOKENS,
  )

  def pooled(module, ids, mask):
    return module.pool(module(ids, mask))

  def init(key):
    first, second = jax.random.split(key)
    example = jnp.ones((1, TOKENS), jnp.int32)
    bert = Bert(config).init(first, example, jnp.ones((1, TOKENS)), method=pooled)["params"]
    return {"bert": bert, "out": init_dense((WIDTH, 2), 1.0, second)["linear_1"]}

  def loss(params, batch):
    ids, labels = batch
    mask = (ids > 0).astype(jnp.float32)
    x = Bert(config).apply({"params": params["bert"]}, ids, mask, method=pooled)
    logits = x @ params["out"]["w"] + params["out"]["b"]
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))

  return Optimizee("", init, loss, functools.partial(_sample_rows, (ids, labels)))


def _sample_rows(columns: tuple, arrays: Any, key: jax.Array, batch_size: int) -> tuple[jax.Array, ...]:
  """Draws rows with replacement; whole numbers come as int32."""
  del arrays
  rows = jax.random.randint(key, (batch_size,), 0, len(columns[0]))
  drawn = [jnp.asarray(column)[rows] for column in columns]
  return tuple(x.astype(jnp.int32) if jnp.issubdtype(x.dtype, jnp.integer) else x for x in drawn)


@functools.cache
def citeseer_gcn() -> Optimizee:
  """Returns a GCN of 16 hidden units on Citeseer's 120 labelled nodes; every step sees the whole graph.

  As Kipf and Welling train it, with dropout 1/2 and decay 5e-4 of the first layer, but without biases:
  59,344 parameters.
  """
  graph = load_graph("citeseer")
  n = len(graph.labels)
  matrices = adjacency(graph.edges, graph.self_loops, n)
  features = sparse.from_scipy(normalize_rows(graph.features, "row"), ordered=True)
  rows = np.flatnonzero(graph.train_mask)
  labels = graph.labels[rows]

  def init(key):
    sizes = (graph.features.shape[1], 16, graph.n_classes)
    keys, glorot = jax.random.split(key), jax.nn.initializers.glorot_uniform()
    return {f"linear_{i}": {"w": glorot(keys[i - 1], sizes[i - 1 : i + 1])} for i in (1, 2)}

  def loss(params, key):
    first, second = jax.random.split(key)
    on_device = jax.tree.map(jnp.asarray, (features, matrices))
    h = sparse.matmul(dropout_sparse(first, on_device[0], 0.5), params["linear_1"]["w"])
    h = jax.nn.relu(propagate(on_device[1], h, on_device[1].gcn))
    logits = propagate(on_device[1], dropout(second, h, 0.5) @ params["linear_2"]["w"], on_device[1].gcn)
    errors = optax.softmax_cross_entropy_with_integer_labels(logits[rows], labels)
    return jnp.mean(errors) + 0.5 * 5e-4 * jnp.sum(params["linear_1"]["w"] ** 2)

  return Optimizee("", init, loss, lambda arrays, key, batch_size: key)


@functools.cache
def nnpu_mlp() -> Optimizee:
  """Returns an MLP of four layers of 300 with batch norm on the non-negative PU risk of MNIST's even digits.

  1,000 labelled even digits and 10,000 unlabelled ones; half of a batch is of each. The gradient is that of
  Kiryo et al., Algorithm 1, the loss the risk R_pos + max(R_neg, 0). 507,901 parameters.
  """
  images = load_images("mnist").train
  order = np.random.default_rng(0).permutation(len(images["label"]))
  even = order[images["label"][order] % 2 == 0][:LABELLED]
  positive = images["image"][even].reshape(LABELLED, -1)
  others = np.setdiff1d(order, even)
  others = np.random.default_rng(1).permutation(others)[:UNLABELLED]
  unlabelled = images["image"][others].reshape(len(others), -1)
  prior = float(np.mean(images["label"][others] % 2 == 0))
  sizes = (positive.shape[1], 300, 300, 300, 300, 1)

  def init(key):
    params = init_dense(sizes, 2.0, key)
    hidden = {
      name: {"w": params[name]["w"], "scale": jnp.ones(300), "offset": jnp.zeros(300)}
      for name in list(params)[:-1]
    }
    return {**params, **hidden}

  def sample(arrays, key, batch_size):
    del arrays
    half, keys = max(batch_size // 2, 1), jax.random.split(key)
    drawn = [
      jnp.asarray(rows)[jax.random.randint(k, (half,), 0, len(rows))]
      for rows, k in zip((positive, unlabelled), keys, strict=True)
    ]
    return as_float(jnp.concatenate(drawn)), jnp.arange(2 * half) < half

  def loss(params, batch):
    x, labelled = batch
    for i in range(1, len(sizes) - 1):
      layer = params[f"linear_{i}"]
      x = jax.nn.relu(batch_norm(x @ layer["w"], layer["scale"], layer["offset"]))
    last = params[f"linear_{len(sizes) - 1}"]
    risk = pu_risk((x @ last["w"] + last["b"])[:, 0], labelled, prior=prior)
    objective = nnpu_objective_of(risk)
    value = risk.positive + jnp.maximum(risk.negative, 0.0)
    return objective + jax.lax.stop_gradient(value - objective)

  return Optimizee("", init, loss, sample)


@functools.cache
def credit_mlp() -> Optimizee:
  """Returns an MLP of 64 and 64 hidden units, ReLU, on Taiwan's credit clients: who defaults?

  6,146 parameters, 30,000 rows.
  """
  schema = parse_schema(SCHEMAS["credit/taiwan"])._replace(private=())
  table = as_table(load("credit/taiwan"), source="credit/taiwan")
  encoding = tabular.fit(schema, table)
  x = tabular.encode(encoding, table)
  labels = tabular.label_values(encoding, table, "target").astype(np.int8)

  def loss(params, batch):
    rows, labels = batch
    for i in (1, 2):
      rows = jax.nn.relu(rows @ params[f"linear_{i}"]["w"] + params[f"linear_{i}"]["b"])
    logits = rows @ params["linear_3"]["w"] + params["linear_3"]["b"]
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))

  init = functools.partial(init_dense, (x.shape[1], 64, 64, 2), 2.0)
  return Optimizee("", init, loss, functools.partial(_sample_rows, (x, labels)))


@functools.cache
def denoising_unet() -> Optimizee:
  """Returns a U-Net of 8, 16 and 32 channels that takes noise of deviation 0.1 off crops of 212 photographs.

  Mean squared error of [32, 32, 3] crops, which are mirrored at random. 27,067 parameters.
  """
  pictures = [center_crop(p, size=2 * SIDE) for p in load_photographs(side=2 * SIDE).pictures]
  whole = np.stack(pictures).astype(np.uint8)
  # name -> (inputs, outputs): two of each size on the way down, and with what was kept on the way up
  widths = {
    "down_1": (3, 8),
    "down_1_b": (8, 8),
    "down_2": (8, 16),
    "down_2_b": (16, 16),
    "middle": (16, 32),
    "middle_b": (32, 32),
    "up_2": (48, 16),
    "up_1": (24, 8),
    "out": (8, 3),
  }

  def init(key):
    keys = jax.random.split(key, len(widths))
    params = {
      name: {"w": math.sqrt(2 / (9 * a)) * jax.random.normal(k, (3, 3, a, b)), "b": jnp.zeros(b)}
      for (name, (a, b)), k in zip(widths.items(), keys, strict=True)
    }
    return {**params, "out": {"w": 0.1 * params["out"]["w"], "b": params["out"]["b"]}}

  def sample(arrays, key, batch_size):
    del arrays
    of_row, of_place, of_mirror, of_noise = jax.random.split(key, 4)
    rows = jax.random.randint(of_row, (batch_size,), 0, len(whole))
    places = jax.random.randint(of_place, (batch_size, 2), 0, SIDE + 1)

    def crop(row, place):
      return jax.lax.dynamic_slice(jnp.asarray(whole), (row, *place, 0), (1, SIDE, SIDE, 3))[0]

    clean = as_float(jax.vmap(crop)(rows, places))
    mirrored = jax.random.bernoulli(of_mirror, 0.5, (batch_size, 1, 1, 1))
    clean = jnp.where(mirrored, clean[:, :, ::-1], clean)
    return clean, clean + NOISE * jax.random.normal(of_noise, clean.shape)

  def loss(params, batch):
    clean, noisy = batch

    def conv(name, x):
      return convolve(x, params[name]["w"], padding="SAME") + params[name]["b"]

    def both(name, x):
      return jax.nn.relu(conv(f"{name}_b", jax.nn.relu(conv(name, x))))

    def halved(x):
      return jnp.mean(x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1), (2, 4))

    def doubled(x):
      return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)

    fine = both("down_1", noisy - 0.5)
    coarse = both("down_2", halved(fine))
    x = both("middle", halved(coarse))
    x = jax.nn.relu(conv("up_2", jnp.concatenate([doubled(x), coarse], -1)))
    x = jax.nn.relu(conv("up_1", jnp.concatenate([doubled(x), fine], -1)))
    return jnp.mean((noisy - conv("out", x) - clean) ** 2)

  return Optimizee("", init, loss, sample)
