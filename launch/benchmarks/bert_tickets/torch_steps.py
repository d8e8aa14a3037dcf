"""Worker: the same steps by transformers' BertForSequenceClassification. Arguments: MODEL THREADS."""

from __future__ import annotations

import sys

from benchmarks.bert_tickets.compare import BATCH, LENGTH, MODELS
from benchmarks.measure import serve

try:
  import torch
  from transformers import BertConfig, BertForSequenceClassification
except ImportError as error:
  sys.exit(f"{error.name} is missing, which this comparison needs: pip install 'vita_jax[bench]'")


def main(model: str, threads: int) -> None:
  torch.manual_seed(0)
  torch.set_num_threads(threads)
  layers, hidden, heads, feed_forward, vocabulary = MODELS[model]
  sizes = BertConfig(
    vocab_size=vocabulary,
    hidden_size=hidden,
    num_hidden_layers=layers,
    num_attention_heads=heads,
    intermediate_size=feed_forward,
  )
  net = BertForSequenceClassification(sizes).train()
  optimizer = torch.optim.AdamW(net.parameters(), lr=2e-5, weight_decay=0.0, fused=True)
  schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: max(0.0, 1 - t / 1_000_000))
  ids, labels = torch.randint(1, vocabulary, (BATCH, LENGTH)), torch.randint(0, 2, (BATCH,))

  def advance(n: int) -> None:
    for _ in range(n):
      optimizer.zero_grad()
      net(input_ids=ids, labels=labels).loss.backward()
      torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
      optimizer.step()
      schedule.step()

  advance(1)
  serve(advance, threads=threads)


if __name__ == "__main__":
  main(sys.argv[1], int(sys.argv[2]))
