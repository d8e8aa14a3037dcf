"""paraphrase-MiniLM-L3-v2 (Apache-2.0), a BERT encoder of three layers, as a Hugging Face folder.

Its weights are a float16 file without pooler and config; they were fine-tuned for sentence similarity, so
that "pre-trained" is not masked-LM here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vita_jax.data.sources import missing, source_files
from vita_jax.nn.bert_config import BertConfig
from vita_jax.nn.bert_files import from_tensors, save_bert

MINILM_L3 = BertConfig(hidden_size=384, num_hidden_layers=3, num_attention_heads=12, intermediate_size=1536)


def write_minilm_l3(folder: Path) -> Path:
  """Converts $VITA_DATA_DIR/minilm_l3 to a float32 folder that `load_bert` and `transformers` read; returns
  it.

  Raises:
    FileNotFoundError: a file is not there. ValueError: one that is not what is recorded.
  """
  files = source_files("minilm_l3")
  if files is None:
    raise FileNotFoundError(f"{missing('minilm_l3')}: put it there")
  from safetensors.numpy import load_file

  tensors = {}
  for name, x in load_file(files["minilm_l3/minilm_l3_fp16.safetensors"]).items():
    x = np.asarray(x, np.float32)
    # Its dense layers are stored [in, out] as `kernel`.
    tensors[name.replace(".kernel", ".weight")] = x.T if name.endswith(".kernel") else x
  save_bert(folder, MINILM_L3, from_tensors(MINILM_L3, tensors).params, vocab=files["minilm_l3/vocab.txt"])
  return folder
