"""paraphrase-MiniLM-L3-v2 (Apache-2.0), a BERT encoder of three layers, as a Hugging Face folder.

Its weights are a float16 file without pooler and config; they were fine-tuned for sentence similarity, so
that "pre-trained" is not masked-LM here.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vita_jax.base.hashing import file_sha256
from vita_jax.nn.bert_config import BertConfig
from vita_jax.nn.bert_files import from_tensors, save_bert

MINILM_L3 = BertConfig(hidden_size=384, num_hidden_layers=3, num_attention_heads=12, intermediate_size=1536)
FILES = {
  "minilm_l3_fp16.safetensors": "155348290a7ca0a4d9efe13c9675d957be5c76c602d68ec10d3c751b307bc720",
  "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def write_minilm_l3(folder: Path) -> Path:
  """Converts $VITA_DATA_DIR/minilm_l3 to a float32 folder that `load_bert` and `transformers` read; returns
  it.

  Raises:
    FileNotFoundError: a file is not there. ValueError: one that is not what is recorded.
  """
  root = os.environ.get("VITA_DATA_DIR")
  source = Path(root or ".").expanduser() / "minilm_l3"
  for name, expected in FILES.items():
    if not root or not (source / name).is_file():
      raise FileNotFoundError(f"no minilm_l3/{name} under $VITA_DATA_DIR ({root or 'unset'}): put it there")
    if (found := file_sha256(source / name)) != expected:
      raise ValueError(f"{source / name} is damaged or another version: sha256 {found}, expected {expected}")
  from safetensors.numpy import load_file

  tensors = {}
  for name, x in load_file(source / "minilm_l3_fp16.safetensors").items():
    x = np.asarray(x, np.float32)
    # Its dense layers are stored [in, out] as `kernel`.
    tensors[name.replace(".kernel", ".weight")] = x.T if name.endswith(".kernel") else x
  save_bert(folder, MINILM_L3, from_tensors(MINILM_L3, tensors).params, vocab=source / "vocab.txt")
  return folder
