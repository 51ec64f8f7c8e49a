"""Quality beside MultiVae's joint latent models: the same data, minutes and number of parameters.

    pip install --no-deps --target runs/multivae multivae pythae
    python benchmarks/peers.py --multivae runs/multivae [--minutes 10] [--methods MoPoE MVTCAE]

Pictures, captions and speech of `fashion`. Ours is `any-to-any`; theirs have MultiVae's default settings, and each of
two learning rates. On held-out rows:

- ``conditional``: the share of what is generated from one field of a row whose class is that row's; the mean of six
  directions.
- ``joint``: everything is generated from nothing; the share of rows in which picture, caption and speech show the same
  class, and the effective number of classes among them (1 is a collapse). Ours generates one field after another.
  Theirs draws from the prior, and from MultiVae's own Gaussian mixture fitted to the latents of 5,000 training rows.
- ``FID``: of pictures made from held-out captions, in the features of the classifier, beside that of as many real
  training pictures.

Bar: ours is better in all three than any of theirs. The runs are those of missing.py with complete data; a run that is
there is not trained again. Prints a table and writes benchmarks/results/peers.json.
"""

from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import multivae_peer as peers
from fashion_scores import READ, Fashion, Maker, Ours, Results, command, everything, first, fit, mean, run_folder
from multivae_peer import Peer, size
from polymodal.data import Rows
from polymodal.evaluation.metrics import frechet_distance

RECIPES: dict[str, dict[str, Any]] = {
    "any-to-any": {},
    "any-to-any, vae": {
        "fields.picture": READ["picture"],
        "defaults.image": {
            "encoder": {"kind": "picture", "stages": 3, "depth": 0, "augment": 0.3},
            "head": {"kind": "vae", "latent": 32, "prior": "flow", "hidden_size": 256, "channels": [64], "patch": 4,
                     "blocks": 0, "temperature": 0.8},
        },
    },
}  # fmt: skip
"""Ours: with a flow for pictures, and with the head of `image-vae`, which learns faster."""
ORDER = ("caption", "speech", "picture")
"""In which ours generates everything from nothing: first what tells most of the class."""
MIXTURE_ROWS = 5000


def scores(fashion: Fashion, make: Maker, rows: Rows, painted: Rows, real: Tensor) -> dict[str, Any]:
    """All three scores of a generator.

    Args:
        fashion: Judges.
        make: The generator.
        rows: Held out, for coherence.
        painted: Held out, whose captions become pictures.
        real: Features of real pictures.
    """
    directions = fashion.coherence(make, rows)
    captions = {"caption": everything(painted.only("caption"))["caption"]}
    made = make(captions, ["picture"], len(painted))["picture"]
    return {
        "conditional": mean(directions),
        "directions": directions,
        "joint": fashion.agreement(make({}, ORDER, len(rows))),
        "fid": frechet_distance(real, fashion.classifier.features(made)),
    }


def main() -> None:
    parser = command(__doc__, "peers.json")
    parser.add_argument("--methods", nargs="*", choices=["MoPoE", "MVTCAE"], default=["MoPoE", "MVTCAE"])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fashion = Fashion(arguments.classifier)
    data, seed, runs = fashion.data, arguments.seed, arguments.folder
    minutes, samples = arguments.minutes, arguments.samples
    contenders: dict[str, Maker] = {}
    for name, settings in RECIPES.items():
        run = run_folder(runs, name.replace(", ", "-"), 0, seed)
        contenders[f"polymodal {name}"] = Ours(fit(data, run, minutes=minutes, seed=seed, **settings), seed)
    parameters = max(size(make.model.model) for make in contenders.values())
    if arguments.multivae:
        peers.install(arguments.multivae)
    for method in arguments.methods if arguments.multivae else ():
        for rate in peers.LEARNING_RATES:
            peer = Peer(method, data, parameters, seed)
            peer.train(data.train, runs, 0, minutes=minutes, learning_rate=rate)
            contenders[f"MultiVae {method}, {rate:g}"] = peer
    if arguments.only_train:
        return

    rows, painted = first(data.test, samples), first(data.test, 2 * samples)
    real = fashion.classifier.features(everything(data.test.only("picture"))["picture"])
    unseen = fashion.classifier.features(everything(first(fashion.unseen, 2 * samples).only("picture"))["picture"])
    results = Results(
        arguments.output, minutes=minutes, seed=seed, samples=len(rows), floor=frechet_distance(real, unseen)
    )
    for name, make in contenders.items():
        found = scores(fashion, make, rows, painted, real)
        if isinstance(make, Peer):
            made = make.from_mixture(first(data.train, MIXTURE_ROWS), len(rows))
            found["joint, mixture"] = fashion.agreement(made)
            found["parameters"] = make.parameters
        results.keep(found, "generators", name)

    title = f"{minutes:g} minutes each, {len(rows):,} held-out rows; FID of real pictures: {results.tree['floor']:.2f}"
    table = Table("generator", "conditional", "joint", "classes", "joint, mixture", "classes", "FID", title=title)
    for name, found in results.tree["generators"].items():
        joint, mixture = found["joint"], found.get("joint, mixture")
        table.add_row(
            name, f"{found['conditional']:.1%}", f"{joint['coherent']:.1%}", f"{joint['classes']:.1f}",
            f"{mixture['coherent']:.1%}" if mixture else "", f"{mixture['classes']:.1f}" if mixture else "",
            f"{found['fid']:.2f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
