"""Training from shards on a server far away, beside the same rows in memory.

    python benchmarks/shards.py [--shards 40] [--rows 64] [--steps 60] [--width 96] [--side 32]

A server on this machine waits 20 ms before each answer. The cache holds a tenth of the decoded rows, so that every
shard is fetched and decoded again in each epoch. Compared are the weights, which must be the same to the bit, and the
processor's time of the training: that of the shards includes fetching and decoding. How often a step had to wait for a
shard is counted. The first pass, which finds out what is in the shards, is counted apart.
"""

import argparse
import contextlib
import functools
import http.server
import io
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

import polymodal as pm
from polymodal.data.shards import ShardCache
from record import about, save

LATENCY_SECONDS = 0.02
FIELDS: dict[str, dict[str, Any]] = {
    "picture": {"modality": "image", "size": 32},
    "name": {"modality": "text", "max_length": 16},
    "colour": {"modality": "label"},
}


class Slow(http.server.SimpleHTTPRequestHandler):
    """Files, late."""

    protocol_version = "HTTP/1.1"

    def send_head(self) -> Any:
        time.sleep(LATENCY_SECONDS)
        return super().send_head()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that has what it wanted
            super().handle()

    def log_message(self, *_: Any) -> None:
        pass


def serve(folder: str, port: Any) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Slow, directory=folder)) as server:
        port.put(server.server_port)
        server.serve_forever()


def write(folder: Path, shards: int, rows: int) -> None:
    """Pictures of one colour with noise, whose names and labels say which; a tenth of the cells is missing."""
    random = np.random.default_rng(0)
    colours = {"red": (200, 40, 40), "green": (40, 160, 60), "blue": (50, 70, 200)}
    for shard in range(shards):
        names = random.choice(list(colours), rows).tolist()
        cells: dict[str, list[Any]] = {"picture": [], "name": [f"{name} {n}" for n, name in enumerate(names)]}
        for name in names:
            pixels = np.clip(random.normal(colours[name], 30, (32, 32, 3)), 0, 255).astype(np.uint8)
            packed = io.BytesIO()
            Image.fromarray(pixels).save(packed, "PNG")
            cells["picture"].append({"bytes": packed.getvalue(), "path": None})
        cells["colour"] = list(names)
        for column in cells.values():
            for place in random.choice(rows, rows // 10, replace=False).tolist():
                column[place] = None
        pq.write_table(pa.table(cells), folder / f"rows-{shard:03d}.parquet")


def train(data: pm.Data, width: int, steps: int, run: Path) -> tuple[dict[str, torch.Tensor], float]:
    recipe = {"width": width, "fields": FIELDS, "train": {"steps": steps, "batch_size": 32, "validate_every": 1.0}}
    begin = time.process_time()
    model = pm.fit(recipe, data, run=run, print_progress=False).model
    return model.state_dict(), time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=40)
    parser.add_argument("--rows", type=int, default=64, help="of each shard")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--width", type=int, default=96, help="of the model")
    parser.add_argument("--side", type=int, default=32, help="of the pictures that it sees, in pixels")
    parser.add_argument("--json", type=Path, default=Path("runs/shards.json"), help="where the result is written")
    args = parser.parse_args()
    torch.set_num_threads(1)
    FIELDS["picture"]["size"] = args.side
    began, waits = time.perf_counter(), [0, 0]

    found = ShardCache.rows

    def counted(self: ShardCache, shard: int) -> Any:
        waits[0] += 1
        waits[1] += shard not in self._ready
        return found(self, shard)

    with tempfile.TemporaryDirectory() as place:
        folder, cache = Path(place) / "data", Path(place) / "cache"
        folder.mkdir()
        write(folder, args.shards, args.rows)
        port: Any = multiprocessing.get_context("spawn").Queue()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(str(folder), port), daemon=True)
        server.start()
        source = f"http://127.0.0.1:{port.get()}/rows-{{000..{args.shards - 1:03d}}}.parquet"
        begin = time.process_time()
        data = pm.load(source, FIELDS, cache=cache, shards={"window": 2, "sample_rows": 500})
        first_pass = time.process_time() - begin
        megabytes = 1e-6 * float(data.train.store.bytes.sum()) / 10  # type: ignore[attr-defined]
        shards = {"window": 2, "sample_rows": 500, "cache_megabytes": megabytes}
        data = pm.load(source, FIELDS, cache=cache, shards=shards)
        memory = pm.load(folder, data.fields, cache=cache)
        memory.train.order = data.train.order
        mine, seconds = train(memory, args.width, args.steps, Path(place) / "memory")
        ShardCache.rows = counted  # type: ignore[method-assign]
        theirs, longer = train(data, args.width, args.steps, Path(place) / "shards")
        server.terminate()
        server.join()
    result = {
        "width": args.width, "side": args.side, "rows": len(data.train),
        "epochs": args.steps * 32 / len(data.train), "cache_megabytes": megabytes,
        "same_weights": all(torch.equal(mine[name], value) for name, value in theirs.items()),
        "processor_seconds_in_memory": seconds, "processor_seconds_from_shards": longer, "ratio": longer / seconds,
        "uses_of_shards": waits[0], "share_waited_for": waits[1] / max(1, waits[0]),
        "processor_seconds_of_first_pass": first_pass,
    }  # fmt: skip
    for name, value in result.items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
    save(about(time.perf_counter() - began, seed=0) | result, args.json)


if __name__ == "__main__":
    main()
