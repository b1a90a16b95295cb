# SPDX-License-Identifier: Apache-2.0
"""make_gguf.py FILE - writes a language model of under 1 MB with random weights: llama architecture, two
layers, a small vocabulary of plain words. It babbles, but a real engine loads it, and that is the
point: its server, its streams, its slots and its death are the real ones."""

import sys

import gguf
import numpy as np

LAYERS, WIDTH, HEADS, INNER, CONTEXT = 2, 64, 4, 128, 4096
SYLLABLES = "ba be bi bo bu da de di do du ka ke ki ko ku la le li lo lu ma me mi mo mu na ne ni no nu ra re".split()


def vocabulary():
    """(text, score, type): three specials, every byte, then words."""
    kind = gguf.TokenType
    tokens = [("<unk>", 0.0, kind.UNKNOWN), ("<s>", 0.0, kind.CONTROL), ("</s>", 0.0, kind.CONTROL)]
    tokens += [(f"<0x{b:02X}>", 0.0, kind.BYTE) for b in range(256)]
    words = ["\u2581" + a + b for a in SYLLABLES[:16] for b in SYLLABLES[16:28]] + SYLLABLES + ["\u2581", ".", ",", "\n"]
    return tokens + [(w, -float(i), kind.NORMAL) for i, w in enumerate(dict.fromkeys(words))]


def write(path, seed=1):
    random = np.random.default_rng(seed)
    tokens = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("babble")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([t[0].encode() for t in tokens])
    writer.add_token_scores([t[1] for t in tokens])
    writer.add_token_types([t[2] for t in tokens])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}")

    def tensor(name, *shape):
        writer.add_tensor(name + ".weight", (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32))

    def ones(name):
        writer.add_tensor(name + ".weight", np.ones(WIDTH, dtype=np.float32))

    tensor("token_embd", len(tokens), WIDTH)
    tensor("output", len(tokens), WIDTH)
    ones("output_norm")
    for i in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"blk.{i}.{name}", WIDTH, WIDTH)
        tensor(f"blk.{i}.ffn_gate", INNER, WIDTH)
        tensor(f"blk.{i}.ffn_up", INNER, WIDTH)
        tensor(f"blk.{i}.ffn_down", WIDTH, INNER)
        ones(f"blk.{i}.attn_norm")
        ones(f"blk.{i}.ffn_norm")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    write(sys.argv[1])
