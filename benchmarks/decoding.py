"""Greedy decoding of the autoregressive head against `transformers` `generate` on a Llama of the same shape.

    python benchmarks/decoding.py [--rounds 7] [--length 128]

Both hold the same 6.8 M weights (6 layers, 256 wide) and must give the same tokens. Times are of process CPU, one
thread, in alternating rounds; the speed-up is the median over the rounds of transformers' time, eager as it comes, over
each one's. transformers' own compiled step (static cache) stands beside them. Prints a table and writes
benchmarks/results/decoding.json. Compiling needs a C++ compiler and takes a minute or two.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import transformers
from torch import Tensor
from transformers import CompileConfig, LlamaConfig, LlamaForCausalLM

from polymodal.heads.autoregressive import Autoregressive
from polymodal.nn.layers import flatten_parameters
from polymodal.nn.random import make_keys
from polymodal.types import Context, Space
from record import RESULTS, about, save

WIDTH, DEPTH, HEADS, HIDDEN, VOCAB = 256, 6, 4, 1024, 1024
BARS = {("eager", 1): 1.8, ("compiled", 1): 2.4, ("eager", 16): 1.25}


def build(length: int) -> tuple[LlamaForCausalLM, Autoregressive]:
    """A Llama with random weights, and a head that holds the same."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=HIDDEN,
        max_position_embeddings=2 * length,
        rms_norm_eps=1e-6,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    llama = LlamaForCausalLM(config).eval()
    space = Space("discrete", (length,), VOCAB)
    options = {
        "depth": DEPTH,
        "heads": HEADS,
        "intermediate_size": HIDDEN,
        "tie_embeddings": False,
        "cross_attention": False,
        "norm": "rms",
    }
    head = Autoregressive(space, WIDTH, **options).eval()

    def joined(*layers: torch.nn.Linear) -> Tensor:
        return torch.cat([layer.weight.T for layer in layers], dim=1)

    with torch.no_grad():
        # The pooled context stands for the embedding of the first token.
        head.begin.weight.copy_(torch.eye(WIDTH))
        head.embedding.weight.copy_(llama.model.embed_tokens.weight)
        head.output.weight.copy_(llama.lm_head.weight.T)
        head.transformer.norm.weight.copy_(llama.model.norm.weight)
        for block, layer in zip(head.transformer.blocks, llama.model.layers, strict=True):
            theirs = layer.self_attn
            block.attention_norm.weight.copy_(layer.input_layernorm.weight)
            block.attention.query_key_value.weight.copy_(joined(theirs.q_proj, theirs.k_proj, theirs.v_proj))
            block.attention.out.weight.copy_(joined(theirs.o_proj))
            block.feed_norm.weight.copy_(layer.post_attention_layernorm.weight)
            block.feed.gate_up.weight.copy_(joined(layer.mlp.gate_proj, layer.mlp.up_proj))
            block.feed.down.weight.copy_(joined(layer.mlp.down_proj))
    flatten_parameters(head)  # as ``polymodal.open`` does
    return llama, head


def competitors(batch: int, length: int) -> dict[str, Callable[[], Tensor]]:
    """Functions that decode ``batch`` rows of ``length`` tokens, by name."""
    llama, head = build(length)
    llama_static, compiled = build(length)
    compiled.step = torch.compile(compiled.step, dynamic=True, options={"cpp_wrapper": True})
    first = torch.arange(1, batch + 1)[:, None]
    attention_mask = torch.ones_like(first)
    pooled = head.embedding(first[:, 0]).detach()
    context = Context(torch.zeros(batch, 0, WIDTH), torch.zeros(batch, 0, dtype=torch.bool), pooled)
    keys = make_keys(0, batch)

    def generate(model: LlamaForCausalLM, **options) -> Tensor:
        options = {"attention_mask": attention_mask, "max_new_tokens": length, "do_sample": False} | options
        return model.generate(first, **options)[:, 1:]

    # transformers compiles the step of a static cache by itself on GPUs only; on a CPU one has to ask for it.
    compile_config = CompileConfig(fullgraph=False, mode="default")
    compile_config._compile_all_devices = True
    static = {"cache_implementation": "static", "compile_config": compile_config}
    return {
        "eager": lambda: head.sample(context, keys, temperature=0.0).value,
        "compiled": lambda: compiled.sample(context, keys, temperature=0.0).value,
        "transformers": lambda: generate(llama),
        "transformers compiled": lambda: generate(llama_static, **static),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--length", type=int, default=128, help="tokens to decode")
    parser.add_argument("--output", type=Path, default=RESULTS / "decoding.json")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()

    results = []
    print(f"{'':24}{'batch':>6}{'ms per step':>13}{'speed-up':>10}{'bar':>6}   same tokens")
    for batch in (1, 16):
        functions = competitors(batch, arguments.length)
        reference = functions["transformers"]()
        same = {name: torch.equal(function(), reference) for name, function in functions.items()}
        seconds: dict[str, list[float]] = {name: [] for name in functions}
        for _ in range(arguments.rounds):
            for name, function in functions.items():
                start = time.process_time()
                function()
                seconds[name].append(time.process_time() - start)
        for name, taken in seconds.items():
            ratio = median(theirs / ours for theirs, ours in zip(seconds["transformers"], taken, strict=True))
            milliseconds = median(taken) / arguments.length * 1e3
            bar = BARS.get((name, batch))
            results.append(
                {
                    "name": name,
                    "batch": batch,
                    "milliseconds_per_step": milliseconds,
                    "speed_up": ratio,
                    "bar": bar,
                    "same_tokens": same[name],
                }
            )
            print(f"{name:24}{batch:6}{milliseconds:13.2f}{ratio:9.2f}x{bar or '':>6}   {same[name]}")
    record = {"results": results, "rounds": arguments.rounds, "length": arguments.length}
    save(about(time.perf_counter() - begin, seed=0, peer="transformers") | record, arguments.output)


if __name__ == "__main__":
    main()
