"""What docs/benchmarks.md says about each benchmark: its text, and the bars that its JSON is compared with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import getitem
from statistics import fmean
from typing import Any

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Bar:
    """A figure that was wanted.

    Attributes:
        what: What is measured.
        reached: Takes the figure from a benchmark's JSON.
        wanted: The least that is enough; with ``at_most``, the most.
        at_most: Whether less is better.
    """

    what: str
    reached: Callable[[Result], float]
    wanted: float
    at_most: bool = False


@dataclass(frozen=True)
class Section:
    """A benchmark.

    Attributes:
        title: Title of its section.
        command: The command that writes its JSON.
        text: What is measured, and what that does not show.
        peer: What the library that it is compared with does better, or what is missing.
        bars: The bars that its figures are compared with.
    """

    title: str
    command: str
    text: str
    peer: str
    bars: Sequence[Bar] = ()

    def checked(self, result: Result) -> list[dict[str, Any]]:
        """Every bar of which the figure is known, with what was reached."""
        rows = []
        for bar in self.bars:
            try:
                reached = bar.reached(result)
            except (KeyError, StopIteration):  # this part of the benchmark was not run
                continue
            met = reached <= bar.wanted if bar.at_most else reached >= bar.wanted
            wanted = f"{'at most' if bar.at_most else 'at least'} {bar.wanted:,g}"
            rows.append({"what": bar.what, "wanted": wanted, "reached": reached, "met": met})
        return rows


def _icons(figure: str, beside: str) -> Callable[[Result], float]:
    def share(result: Result) -> float:
        of = {row["codec"]: row for row in result["generation"]}
        return of["trained"][figure] / of[beside][figure]

    return share


SHAPES = ("text-to-shape", "image-to-shape")


def _shape(recipe: str, beside: str, figure: str, wanted: float, at_most: bool = False) -> Bar:
    def share(result: Result) -> float:
        seeds = result[recipe].values()
        return sum(seed["ours"][figure] / seed[beside][figure] for seed in seeds) / len(seeds)

    return Bar(f"{recipe}: {figure} over that of {beside}", share, wanted, at_most)


def _same_bytes(result: Result) -> float:
    return result["pairs"]["same_bytes"] / result["pairs"]["pairs"]


def _step(networks: str, method: str, ours: str, wanted: float) -> Bar:
    what = f"{method}, {networks}, {'bare' if 'bare' in ours else 'whole'} step: times MultiVae's samples/s"
    return Bar(what, lambda result: result[networks][method][ours]["times_multivae"], wanted)


def _decoded(name: str, batch: int, wanted: float) -> Bar:
    def reached(result: Result) -> float:
        return next(r["speed_up"] for r in result["results"] if (r["name"], r["batch"]) == (name, batch))

    return Bar(f"{name}, batch {batch}: times transformers' speed", reached, wanted)


def _sound(name: str, wanted: float) -> Bar:
    return Bar(f"{name}: times librosa's speed", lambda result: result["results"][name]["ratio"], wanted)


def _best(result: Result, measure: str, choose: Callable[[Sequence[float]], float] = max) -> float:
    families = ("gan", "vae", "pixel-flow", "flow", "masked", "autoregressive")
    return choose([result["pictures"][family][measure] for family in families])


def _share_of_best_seed(result: Result) -> float:
    recalls = [seed["recall"] for seed in result["seeds"].values()]
    return min(recalls) / max(recalls)


def _lost_in_few_steps(result: Result) -> float:
    return 100 * (result["steps"]["50"]["coherence"] - result["steps"]["4"]["coherence"])


def _behind_balanced(result: Result) -> float:
    means = {name: setting["mean"] for name, setting in result["settings"].items()}
    return 100 * (means["balanced"] - max(mean for name, mean in means.items() if name != "balanced"))


def _behind_complete(result: Result, sampling: str) -> float:
    complete, half = result["polymodal, fixed"]["0%"], result[f"polymodal, {sampling}"]["50%"]
    return 100 * (complete["mean"]["conditional"] - half["mean"]["conditional"])


def _both(pair: str, what: str) -> Bar:
    def gained(result: Result) -> float:
        found = result["two"][pair]
        return 100 * (found["both"] - max(found["first"], found["second"]))

    return Bar(f"{what}: points over the better one alone", gained, 0.0)


def _conditional(generator: Result) -> float:
    return generator["conditional"]


def _joint(generator: Result) -> float:
    return max(generator[prior]["coherent"] for prior in ("joint", "joint, mixture") if prior in generator)


def _fid(generator: Result) -> float:
    return -generator["fid"]


def _ahead(result: Result, measure: Callable[[Result], float]) -> float:
    """How far our weaker variant in all but FID, the one with the head of `image-vae`, is ahead of their best."""
    theirs = [measure(found) for name, found in result["generators"].items() if name.startswith("MultiVae")]
    return measure(result["generators"]["polymodal any-to-any, vae"]) - max(theirs)


def _exported(result: Result, what: str, heads: tuple[str, ...] = ()) -> list[float]:
    """A figure of every file, or of those whose head is one of these."""
    files = (one for one in result["results"].values() if what in one)
    return [one[what] for one in files if not heads or one["head"] in heads]


def _held(result: Result) -> list[float]:
    """Of every figure and model that varies at all, how often its interval holds the known value."""
    models = [
        told
        for rows in result["sets"].values()
        for figure in rows.values()
        for told in figure.values()
        if isinstance(told, Mapping) and told["varies"]
    ]
    means = [told for rows in result["shares"].values() for told in rows.values()]
    return [told["intervals_that_hold_it"] for told in (*models, *means)]


def _ordered(result: Result) -> float:
    """Share of the figures, at all numbers of rows, whose mean finds every worse model worse than the perfect one."""
    figures = [figure for rows in result["sets"].values() for figure in rows.values()]
    return sum(figure["every_worse_model_is_found"] for figure in figures) / len(figures)


def _alarms(result: Result) -> list[float]:
    return [told["false_alarms"] for rows in result["compare"].values() for told in rows.values()]


def _copies(result: Result) -> float:
    return min(min(told["copies_found"], told["fault_named"]) for told in result["copies"].values())


def _strongest(result: Result, rows: str) -> float:
    return max(attack["auc"] for attack in result["results"][rows]["attacks"] if attack["name"] != "no model")


def _demo(direction: str, metric: str, inputs: str, *, of_real: bool = False) -> Callable[[Result], float]:
    """A score of the demo, or its share of what the same judge makes of real values."""

    def reached(result: Result) -> float:
        row = next(
            row
            for row in result["results"]
            if (row["direction"], row["metric"], row["inputs"]) == (direction, metric, inputs)
        )
        return row["score"] / row["real"] if of_real else row["score"]

    return reached


def _molecules(part: str, measure: str, what: str, wanted: float, *, at_most: bool = False) -> Bar:
    """The mean of all seeds."""

    def reached(result: Result) -> float:
        seeds = result["results"][part].values()
        return sum(scores[measure] for scores in seeds) / len(seeds)

    return Bar(f"{what}, mean of the seeds", reached, wanted, at_most)


def _in_errors(part: str, difference: str, measure: str | None = None) -> Callable[[Result], float]:
    """A difference of the same rows in its standard errors."""

    def reached(result: Result) -> float:
        found = result[part][difference]
        found = found[measure] if measure else found
        return found["difference"] / max(found["error"], 1e-9)

    return reached


EXACT, JUDGE, HEARD = "exact match", "judge's top-1", "pocketsphinx's top-1"
NO_PEER = "There is no peer to compare with: "
DEMO = Section(
    "The demo",
    "python examples/demo.py -o demo",
    "What the one model of `make demo` makes of inputs that it was not trained on, where the direction allows it: "
    "pictures, names and speech of 200 emoji concepts. `low` and `high` are the ends of the 95 % interval; "
    "`real` is what the same judge makes of the real values. The judge is a contrastive model, trained on the real "
    "training rows apart from the generator; it chooses among 200 names. A run leaves its figures in "
    "`demo/scores.json`. It came to 984 steps on a machine of its own. Speech of pictures and pictures of speech "
    "go through the name (ADR 85); before, they were right in 0.52 (of 50) and 0.53.\n\n"
    "On concepts in a style in which they were never shown, *name + style -> picture* draws the concept, but in the "
    "style it knows (the judge, too, names none of the 21 real pictures), and *picture -> name* fails.\n\n"
    "The machine's speed decides how many steps the minutes hold. On one of the two cores (`taskset -c 0 python "
    "examples/demo.py -o half`, others on the second) there were 674 steps: *speech -> name* 0.875, *picture -> "
    "name* 0.971, *name -> picture* 0.920, *name -> speech* 0.835 by the judge and 0.495 by pocketsphinx, "
    "*picture -> speech* 0.705 and 0.290, *speech -> picture* 0.782. At 410 steps, of another such run, *speech "
    "-> name* was 0.11 of 64 rows: names are learned suddenly, and the demo goes on by itself. Where the log "
    "shows fewer than 700 steps, more time helps: `python examples/demo.py -o demo --minutes 15`.\n\n"
    "The picture in the README was drawn by this run, two samples of each name (`polymodal generate RUN --name NAME "
    "--to picture -n 2`): red apple, sunflower, pizza, fire engine, penguin, violin, watermelon, sailboat, cactus, "
    "umbrella, dolphin, candle, strawberry, key, giraffe, crown.",
    NO_PEER + "data, judge and minutes are our own. Models that are trained on GPUs for days are better by far.",
    [
        Bar("speech -> name, exact, voices never heard", _demo("speech -> name", EXACT, "voices never heard"), 0.97),
        Bar(
            "picture -> name, exact, pictures trained on", _demo("picture -> name", EXACT, "pictures trained on"), 0.97
        ),
        Bar("name -> picture, judge, share of real", _demo("name -> picture", JUDGE, "every name", of_real=True), 0.95),
        Bar("name -> speech, judge, share of real", _demo("name -> speech", JUDGE, "every name", of_real=True), 0.95),
        Bar("the same, pocketsphinx", _demo("name -> speech", HEARD, "every name", of_real=True), 0.75),
        Bar(
            "picture -> speech, judge, share of real",
            _demo("picture -> speech", JUDGE, "every name", of_real=True),
            0.8,
        ),
    ],
)
FAMILIES = Section(
    "Families of generators",
    "OMP_NUM_THREADS=1 python benchmarks/families.py --minutes 6 --parts pictures steps --samples 3000",
    "Captions become pictures by five families of heads on the data set `fashion`: the same captions, minutes, seed "
    "and judge for all; six minutes of the processor's time of one core each, three by the clock of two. Coherence is"
    " the share of pictures in which a classifier of real pictures sees the class that the caption names. FID and KID"
    " are in that classifier's features, so that they compare with nobody else's; recall and coverage are against "
    "5,000 real test pictures, all of which 3,000 samples could not cover if they were real; `floor` is of real "
    "pictures that the classifier has not learned from. `speech` and `seeds` are further parts of the same command, "
    "of earlier calls and versions: `speech`, six minutes by the clock of one busy core, of `text-to-audio` without "
    "its vocoder. The gan and the flow on pixels train in bf16, which these processors have units for. In twenty "
    "minutes of both cores, an earlier version's flow on pixels came to a FID of 0.079, 5.9 times a floor of that "
    "version's own.",
    NO_PEER + "these are our own heads, trained for minutes. Generators that are trained on a GPU for hours draw "
    "better by far; all but the flow on pixels are far from the floor, and miss half of the variety or more (recall).",
    [
        *(
            Bar(f"{family}: coherence", lambda result, f=family: result["pictures"][f]["coherence"], 0.85)
            for family in ("gan", "vae", "flow", "masked", "autoregressive")
        ),
        Bar("the best family: coherence", lambda result: _best(result, "coherence"), 0.97),
        Bar(
            "the best family: FID, times the floor",
            lambda result: _best(result, "fid", min) / result["pictures"]["floor"]["fid"],
            6.0,
            at_most=True,
        ),
        Bar("speech of voices never heard: caption's class", lambda r: r["speech"]["speech_to_caption_class"], 0.95),
        Bar("caption to speech: share of the recogniser's real score", lambda r: r["speech"]["share_of_real"], 0.9),
        Bar("gan, five seeds: the worst recall over the best", _share_of_best_seed, 0.5),
        Bar("flow, 4 steps beside 50: points of coherence lost", _lost_in_few_steps, 3.0, at_most=True),
        Bar(
            "gan: times the 50-step flow's pictures a second",
            lambda r: (
                r["pictures"]["gan"]["images_per_second_on_one_core"]
                / r["steps"]["50"]["images_per_second_on_one_core"]
            ),
            50,
        ),
    ],
)

MISSING = Section(
    "Tables with missing cells",
    "python benchmarks/missing.py --multivae runs/multivae --minutes 3 --seeds 0 1 2 --shares 0 0.5 --sampling pairs",
    "Cells of the training rows of `fashion` are missing at random; what is made of one field of complete held-out "
    "rows is right where its class is the row's. `any-to-any` draws rows as they come (`fixed`), or those with more "
    "fields more often (`tasks.sampling: pairs`; complete rows are alike to it). MultiVae's MoPoE has as many "
    "parameters, gets masks of what is there, and its learning rate is the better of two. A thousand rows, every "
    "second of them spoken; `mean` is that of the seeds. Runs differ by some points, most in pictures, and by more "
    "than the missing cells make: read the means. The command has OMP_NUM_THREADS=1; the shares of 30 and 70 % are of "
    "a second call, with `--seeds 0 --shares 0.3 0.7`. Minutes are of the processor's time; MultiVae's figures are of "
    "an earlier call and of one seed, three minutes by the clock of a busy machine. The recipe is that of "
    "benchmarks/fashion_scores.py: one task a row.",
    "MultiVae's MoPoE answers any subset from one latent in one step, so that all fields that it makes come from the "
    "same draw; and three minutes are less than its authors give it.",
    [
        Bar(
            f"half of the cells missing, `{sampling}`: points behind complete data, means of three seeds",
            lambda result, sampling=sampling: _behind_complete(result, sampling),
            5.0,
            at_most=True,
        )
        for sampling in ("pairs", "fixed")
    ],
)
PEERS = Section(
    "Quality beside MultiVae's",
    "python benchmarks/peers.py --multivae runs/multivae --minutes 3 --samples 500",
    "Picture, caption and speech of `fashion`: three minutes of one core for each, the same rows, as many parameters. "
    "`conditional` is the mean of six directions, `joint` of what is made of nothing (theirs from its prior and from a "
    "Gaussian mixture of its own), FID of pictures of 1,000 captions in the classifier's features. MultiVae's models "
    "have its default settings and each of two learning rates; ours the flow of `latent-flow`, or the head of "
    "`image-vae`, for pictures. Minutes by the clock, and ours without noise on the pictures that it reads.",
    "MultiVae's models give all fields from one latent in one step, and have likelihoods that can be compared. Three "
    "minutes are far less than its authors give them.",
    [
        Bar("conditional coherence: ours less the best of theirs", lambda r: _ahead(r, _conditional), 0.0),
        Bar("joint coherence: ours less the best of theirs", lambda r: _ahead(r, _joint), 0.0),
        Bar("FID: the best of theirs less ours, the head of `image-vae`", lambda r: _ahead(r, _fid), 0.0),
    ],
)
FURNITURE = Section(
    "A table of a few hundred rows",
    "python benchmarks/furniture.py",
    "`fill` beside scikit-learn's gradient boosting, a model for each column, on held-out rows without 30 % of "
    "their cells. Of labels the share that is right, of numbers the error over that of the mean: below 1 is better "
    "than the mean. `trivial` is the most frequent category, and the mean.",
    "gradient boosting learns in seconds, and needs no network; it neither reads nor makes pictures.",
    [
        Bar(
            "furniture: numbers' error over gradient boosting's",
            lambda result: result["furniture"]["seed 0"]["ratio"]["numbers' error over boosting's"],
            1.15,
            at_most=True,
        ),
        Bar(
            "furniture: right categories over gradient boosting's",
            lambda result: result["furniture"]["seed 0"]["ratio"]["labels right over boosting's"],
            0.95,
        ),
    ],
)


def _moving(recipe: str, score: str, wanted: float) -> Bar:
    """The least of a recipe's scores on `moving`, over the seeds."""
    what = f"moving, {recipe}: {score}"
    return Bar(what, lambda result: min(seed[recipe][score] for seed in result["moving"].values()), wanted)


def _presenter(direction: str, wanted: float) -> Bar:
    """The least correlation of a direction of `presenter`, over the seeds."""

    def least(result: Result) -> float:
        return min(seed[direction]["correlation"] for seed in result["presenter"].values())

    return Bar(f"presenter, {direction}: correlation of the mouth's opening", least, wanted)


def _distance(ours: str, theirs: str, wanted: float, at_most: bool = False) -> Bar:
    """The worst ratio of two Fréchet distances of clips of `moving`, over the seeds."""

    def ratio(result: Result) -> float:
        name, worst = "Fréchet distance", max if at_most else min
        return worst(seed[ours][name] / seed[theirs][name] for seed in result["moving"].values())

    return Bar(f"moving, Fréchet distance: {ours} over {theirs}", ratio, wanted, at_most)


def _gain(result: Result, side: int) -> float:
    """How much better the trained codec is than a run's own, in decibels."""
    found = {row["codec"]: row["psnr"] for row in result["reconstruction"] if row["side"] == side}
    return found["trained"] - found["kl, 16"]


def _way(result: Result, where: str, way: str) -> Result:
    """Figures of a vocoder, on the held-out voices or on recordings of people."""
    of_place: Result = result["results"] if where == "voices" else result["people"][where]
    return of_place[way]


def _over_griffin_lim(result: Result, where: str, figure: str) -> float:
    return _way(result, where, "trained")[figure] / _way(result, where, "Griffin-Lim")[figure]


def _less_griffin_lim(result: Result, where: str) -> float:
    return _way(result, where, "trained")["error"] - _way(result, where, "Griffin-Lim")["error"]


def _read(result: Result, figure: str) -> float:
    """A figure of the encoders that come trained, frozen, over that of a run's own."""
    found = {row["encoder"]: row[figure] for row in result["encoders"] if figure in row}
    return found["trained"] / found["its own"]


def _flagship(result: Result, *path: str) -> float:
    """A figure of the flagship: the mean of its seeds."""
    return fmean(reduce(getitem, path, seed) for seed in result["seeds"].values())


def _flagship_least(result: Result) -> float:
    """The share of real of the direction that has the least."""
    names = next(iter(result["seeds"].values()))["directions"]["share_of_real"]
    return min(_flagship(result, "directions", "share_of_real", name) for name in names)


FLAGSHIP = Section(
    "The flagship on fashion",
    "OMP_NUM_THREADS=1 python benchmarks/flagship.py",
    "`any-to-any` unchanged on `fashion`, all three fields, 16 minutes of the processor's time, by judges that the "
    "generator shares nothing with. `directions` are shares of held-out rows that are of the right class; `pictures` "
    "are of held-out captions, and `floor` is of real pictures that the judge has not learned from; `joint` is from "
    "nothing. Of a real picture the judge sees the class in 0.939, which bounds what can be said of a picture. What is "
    "reached is the mean of two seeds.",
    NO_PEER + "the bars are our own.",
    [
        Bar("the least of six directions, share of real", _flagship_least, 0.93),
        Bar("recall, share of real", lambda r: _flagship(r, "pictures", "recall_share_of_real"), 0.6),
        Bar("coverage, share of real", lambda r: _flagship(r, "pictures", "coverage_share_of_real"), 0.7),
        Bar("from nothing, all three agree", lambda r: _flagship(r, "joint", "coherent"), 0.85),
        Bar("times the floor under 8", lambda r: 8 / _flagship(r, "pictures", "frechet_over_floor"), 1.0),
    ],
)
SECTIONS: dict[str, Section] = {
    "demo": DEMO,
    "flagship": FLAGSHIP,
    "curves": Section(
        "The flagship against minutes",
        "OMP_NUM_THREADS=1 python benchmarks/curves.py",
        "`any-to-any`, whose small pictures are drawn by a U-Net on pixels, beside what it had before (`latent`): a "
        "codec that learns in the run's own minutes and a transformer over one token of its latent. Every point is a "
        "run of its own, of that many minutes of the processor's time. Coherence is the mean of six directions on 400 "
        "held-out rows of `fashion`, recall and the distance over its floor are of 1,000 pictures from held-out "
        "captions; one seed. Where 8 minutes held 959 steps of `latent` they hold 612. The "
        "last point of `any-to-any` is the run of the section above (`--minutes 16 --ways any-to-any`)."
        "\n\n![coherence and variety against minutes](images/coherence-against-minutes.png)",
        NO_PEER + "it is this library beside itself.",
    ),
    "furniture": FURNITURE,
    "families": FAMILIES,
    "guidance": Section(
        "How the flow on pixels is guided",
        "OMP_NUM_THREADS=1 python benchmarks/families.py --parts guidance --minutes 6 --samples 500 "
        "--output benchmarks/results/guidance.json",
        "`text-to-image-flow` after six minutes of one core, on validation rows of `fashion`, of which neither it nor "
        "the classifier that judges has learned: from which time on it is guided, and how strongly. ADR 14 chose 2.3 "
        "from 0.4 on rows that it was scored on.",
        NO_PEER + "it is a choice of a recipe's options; a model that trains longer may want less guidance.",
    ),
    "recipes": Section(
        "The other recipes",
        "python benchmarks/recipes.py",
        "Shares of held-out rows of `fashion`: what is made is of the row's class by the judge of its kind, a "
        "classifier of real pictures (right on 0.927 of them) or pocketsphinx (on all of the real speech). Chance is "
        "0.1. Minutes and steps are what each training took on one core (`--recipes NAME --minutes N`, or `--steps "
        "N`), of which other programs had a share but for the first two and `mmvae`. The latent of `text-vae` is used "
        "where captions come back from it. The pictures of `dcgan` are of emoji without skin tones, in two styles; "
        "their distance from the training pictures is in the features of a classifier of the groups, with that of "
        "pictures held out beside it.",
        NO_PEER + "minutes of one core and one seed; a recipe's figure would rise with both.",
    ),
    "trained_parts": Section(
        "Parts that come trained",
        "python benchmarks/trained_parts.py pictures",
        "`reconstruction`: photographs of packages that nothing learned from, through the codec that comes trained and "
        "back (32 numbers for 8 x 8 pixels), beside codecs that learn from 768 photographs in a run's own 0.6 minutes "
        "of the processor: `any-to-any`'s, with 16 numbers, and one with 32. Peak signal-to-noise ratio in decibels, "
        "and distance of structure, 1 - SSIM. `generation`: names of furniture -> icons of 64 x 64 pixels from 512 "
        "rows, by `any-to-any` as it is, with the codec that comes trained, and `from_scratch`, with its own: share of "
        "icons in which a classifier sees the name's category, and kernel distance in its features. `encoders`: "
        "categories, and which icon goes with which name, of rows that were never seen, from 512 rows, by the encoders "
        "of `any-to-any`, by those that come trained, frozen, by these while they learn on, and by that of pictures "
        "alone while it learns: shares of rows.",
        NO_PEER + "one seed.",
        [
            Bar(
                f"PSNR at {side} pixels over any-to-any's own codec, dB",
                partial(_gain, side=side),
                4.0,
            )
            for side in (64, 128, 256)
        ]
        + [
            Bar(
                "kernel distance of icons over that of a codec of the run's own", _icons("kernel", "its own"), 0.5, True
            ),
            Bar("right categories of icons over real ones'", _icons("category", "real"), 0.6),
        ]
        + [
            Bar(f"{figure}, encoders that come trained over a run's own", partial(_read, figure=figure), 1.1)
            for figure in ("category by icon", "name -> icon, first 5", "icon -> name, first 5")
        ],
    ),
    "shapes": Section(
        "Shapes of furniture",
        "OMP_NUM_THREADS=1 python benchmarks/shapes.py",
        "One shape for each held-out piece of `furniture`, from its name or its icon, minutes of the processor's time "
        "of one core. `real`: as many training shapes in their place. `retrieval`: the training piece whose name, by "
        "words and letters, or whose icon, by pixels, is nearest. `category`: a random training shape of the right "
        "category. 1-NNA is best at 0.5; MMD, COV and the Chamfer distance as of the glossary; `right` is the share "
        "of shapes whose nearest training shape is of the piece's category.",
        NO_PEER + "generators of shapes such as PointFlow learn from tens of thousands of shapes, on GPUs; these have "
        "646.",
        [
            *(_shape(recipe, "real", figure, 0.7) for recipe in SHAPES for figure in ("COV", "right")),
            _shape("image-to-shape", "category", "Chamfer distance", 1.0, at_most=True),
        ],
    ),
    "molecules": Section(
        "Molecules and their properties",
        "OMP_NUM_THREADS=1 python benchmarks/molecules.py",
        "The data set `molecules`: test molecules have ring systems that no training molecule has. `from nothing`: a "
        "thousand molecules; their Fréchet ChemNet distance (the weights of the package `fcd`) is from training "
        "molecules, beside that of as many other ones. `from properties`: logP, mass, polar surface, rings and donors "
        "of test rows are given, and computed again of what is made; `retrieval` is the training molecule whose "
        "properties are nearest. `melting point`: measured ones of test molecules, by the mean of sixteen draws, a "
        "random forest on Morgan fingerprints, and the mean of the training rows. Minutes are of the processor's "
        "time, on one core.",
        "The forest is a peer for the melting point alone, and a strong one for so few rows. Models that are "
        "pretrained on millions of molecules do better; retrieval gives a molecule that is known already.",
        [
            _molecules("from nothing", "validity", "from nothing: validity", 0.99),
            _molecules("from nothing", "uniqueness", "from nothing: uniqueness", 0.95),
            _molecules("from nothing", "novelty", "from nothing: novelty", 0.80),
            *(
                _molecules(
                    "from properties",
                    f"{name}: error over the mean's",
                    f"{told}: error over the mean's",
                    0.4,
                    at_most=True,
                )
                for name, told in (("logp", "logP"), ("mass", "mass"))
            ),
            _molecules(
                "melting point", "ours over the mean's", "melting point: error over the mean's", 0.75, at_most=True
            ),
        ],
    ),
    "pretrained": Section(
        "Pretrained parts beside parts that learn from nothing",
        "OMP_NUM_THREADS=1 python benchmarks/pretrained.py --packages FOLDER",
        "`summarise`: 1,000 descriptions of Debian's packages and the line that sums each up (the data set `packages`, "
        "from the lists of apt in FOLDER). SmolLM2-135M-Instruct with LoRA against the recipe `summarise`, in equal "
        "processor time, greedy, on packages of other sources; `lead-1` is the description's first sentence. "
        "`synonyms`: 1,000 captions and the class that each names; held-out captions name it by words that no training "
        "caption has. all-MiniLM-L6-v2, frozen, against an encoder from nothing; the error is that of the words. "
        "`steps`: calls of the frozen encoder in 5 epochs, and the processor's time of a step with it over that of a "
        "step with the encoder from nothing. Differences are of the same rows, in standard errors of their mean.",
        NO_PEER
        + "minutes of one core, which fit few hundred rows of a language model's training; both models are small.",
        [
            Bar(
                "summarise: ROUGE-L above from nothing, standard errors",
                _in_errors("summarise", "SmolLM2 + LoRA less from nothing", "rouge_l"),
                2,
            ),
            Bar(
                "summarise: chrF above from nothing, standard errors",
                _in_errors("summarise", "SmolLM2 + LoRA less from nothing", "chrf"),
                2,
            ),
            Bar(
                "synonyms: agreement above from nothing, standard errors",
                _in_errors("synonyms", "MiniLM less from nothing"),
                2,
            ),
            Bar(
                "calls of a frozen encoder for each distinct row",
                lambda result: result["steps"]["calls_per_distinct_row"],
                1,
                at_most=True,
            ),
            Bar(
                "step with frozen features over a step without",
                lambda result: result["steps"]["step_time_ratio"],
                1.15,
                at_most=True,
            ),
            Bar(
                "adapter over its base",
                lambda result: (
                    result["summarise"]["runs"]["SmolLM2 + LoRA"]["adapter"]
                    / result["summarise"]["runs"]["SmolLM2 + LoRA"]["base"]
                ),
                0.02,
                at_most=True,
            ),
        ],
    ),
    "fusion": Section(
        "Joint latents from nothing, and two inputs beside one",
        "python benchmarks/fusion.py --recipes mopoe --minutes 16",
        "`joint`: picture, caption and speech of the same row, generated with nothing given, by one `mopoe` model with "
        "the prior that it was trained with and with two that were fitted afterwards. A row is coherent where the "
        "picture's, the caption's and the speech's class are one. `two` (`--parts two --minutes 3 --samples 500 "
        "--seeds 0 1`): `any-to-any` is given two noisy fields of a row, or either alone; what it makes is right "
        "where its class is the row's; two models, each on 500 rows of its own. The noise is such that "
        "one alone is right nearest to 60 % of the time on rows for validation (`told`, `levels`); a caption loses "
        "pieces. Captions without noise: of `fashion:vague=0.5`, half of which say only the kind of thing (two models "
        "of their own), and clear ones, which tell all that a picture could add: with those, a noisy picture must do "
        "no harm, beyond the error that is beside it.",
        NO_PEER + "the standard prior is what the paper's authors use, and it stays far below the fitted ones here.",
        [
            Bar(
                "the best fitted prior: times the standard one's coherence",
                lambda r: max(r["joint"]["mopoe"][kind]["x_standard"] for kind in ("mixture", "flow")),
                5.0,
            ),
            _both("caption, half vague + picture -> speech", "captions, half of them vague + noisy picture -> speech"),
            _both("caption + picture -> speech", "noisy caption + noisy picture -> speech"),
            _both("speech + picture -> caption", "noisy speech + noisy picture -> caption"),
            _both("caption, clear + picture -> speech", "clear caption + noisy picture -> speech"),
        ],
    ),
    "missing": MISSING,
    "peers": PEERS,
    "imbalance": Section(
        "Fields of unequal size",
        "python benchmarks/imbalance.py",
        "Captions in one row of ten, and a loss of the pictures that is ten times as large; the mean coherence of six "
        "directions by setting of the balancer, after the same number of steps. `fixed` is what happens without one.",
        NO_PEER + "with `balanced`, nothing is rare or large. One seed and a short training: differences of a point "
        "between the balancers mean nothing.",
        [
            Bar("the best balancer: points behind the balanced case", _behind_balanced, 3.0, at_most=True),
            Bar(
                "fixed weights: points behind the balanced case",
                lambda r: 100 * (r["settings"]["balanced"]["mean"] - r["settings"]["fixed"]["mean"]),
                3.0,
            ),
        ],
    ),
    "calibration": Section(
        "What `fill` knows of its own errors",
        "python benchmarks/calibration.py",
        "The expected calibration error of the probability that `fill` tells with a cell, on rows that neither the "
        "model nor the calibrator learned from; `floor` is what a perfect probability would show by chance.",
        NO_PEER + "a picture is held to be right if our own judge names its class, which is not all that a picture "
        "can get wrong.",
        [
            Bar(
                "the worst field: expected calibration error",
                lambda r: max(row["after"] for row in r["results"]),
                0.05,
                at_most=True,
            )
        ],
    ),
    "privacy": Section(
        "Membership inference",
        "python benchmarks/privacy.py",
        "Two models of one recipe, one that saw 200 rows over and over and one that saw 12,000, attacked with their "
        "own training rows and rows held out. 0.5 is a coin's toss. Of the leaks, `own` is how often a field that is "
        "made from another lies nearer to the row's own value than to that of a row alike, `own held out` the same of "
        "rows that it never saw, and `others` how often what it makes of a row that it never saw lies nearer to a "
        "training value than to a held-out one.",
        NO_PEER + "shadow models (LiRA), which need many trainings, are a stronger attack than these two; what is not "
        "found here may be found by them.",
        [Bar("200 rows: the strongest attack's area under the curve", lambda r: _strongest(r, "200 rows"), 0.8)],
    ),
    "vocoder": Section(
        "Vocoder against Griffin-Lim",
        "python benchmarks/vocoder.py",
        "Spectrograms of two voices that it never heard become sound. Distances are decibels, for frames of three "
        "lengths; the error is a recogniser's, and `recordings` is its error on the recordings themselves.",
        "Griffin-Lim needs no training, no weights and no data, and is as good on music or in another language, where "
        "this vocoder learned from a few voices of English.",
        [
            *(
                Bar(
                    f"log-spectral distance over Griffin-Lim's, frames of {frame}",
                    lambda r, f=frame: (
                        r["results"]["vocoder"][f"distance_{f}_db"] / r["results"]["Griffin-Lim"][f"distance_{f}_db"]
                    ),
                    1.0,
                    at_most=True,
                )
                for frame in (1024, 512, 256)
            ),
            Bar(
                "recogniser's error less Griffin-Lim's",
                lambda r: r["results"]["vocoder"]["error"] - r["results"]["Griffin-Lim"]["error"],
                0.0,
                at_most=True,
            ),
            Bar("times Griffin-Lim's speed", lambda r: r["ratio_of_speeds"], 3.0),
        ],
    ),
    "trained_vocoder": Section(
        "The vocoder that comes trained",
        "python benchmarks/vocoder.py --steps 1000 --clips 160 --people speech --output "
        "benchmarks/results/trained_vocoder.json",
        "As above, with the vocoder that comes trained, and a run's own after the thousand steps that are the default. "
        "`people`: recordings that nothing learned from, of English phrases, which the recogniser "
        "chooses among, and of a man who speaks Italian; `speech` is the folder of `package_speech.py`. The error is "
        "of phrases whose words its dictionary has, 55 of the English ones. Minutes are those of a shared core.",
        "Griffin-Lim needs no weights, and serves spectrograms of any settings and of any sound. Vocoders that learn "
        "for days on a GPU sound better than any of these.",
        [
            *(
                Bar(
                    f"trained: log-spectral distance over Griffin-Lim's, {where}, frames of {frame}",
                    partial(_over_griffin_lim, where=where, figure=f"distance_{frame}_db"),
                    1.0,
                    at_most=True,
                )
                for where in ("voices", "English", "Italian")
                for frame in (1024, 512, 256)
            ),
            *(
                Bar(
                    f"trained: recogniser's error less Griffin-Lim's, {where}",
                    partial(_less_griffin_lim, where=where),
                    0.0,
                    at_most=True,
                )
                for where in ("voices", "English")
            ),
            Bar("trained: times Griffin-Lim's speed", lambda r: r["ratio_of_speeds_trained"], 0.8),
        ],
    ),
    "steps": Section(
        "A training step against MultiVae's",
        "python benchmarks/steps.py --multivae runs/multivae",
        "Joint latents of MNIST, SVHN and text by the same networks, batches and latents. `polymodal` is our loop's "
        "whole step: tasks are drawn, gradients clipped, weights averaged. `bare` does without the last two, as "
        "MultiVae's trainer does; `all` also decodes every field from every latent, as its MMVAE+ does.",
        "MultiVae's step is worth more than ours in one respect: it adds the terms of all subsets (MoPoE) or of all "
        "pairs (MMVAE+), where ours draws one a row, an unbiased estimate of the same with more noise. It also has a "
        "dozen published models more, importance-weighted bounds of many samples, and their evaluation.",
        [
            _step(networks, method, ours, wanted)
            for networks in ("perceptrons", "convolutions")
            for method, wanted in (("MoPoE", 1.6), ("MVTCAE", 1.25), ("MMVAE+", 1.5))
            for ours in ("polymodal", "polymodal, bare")
        ],
    ),
    "training": Section(
        "What the training loop costs",
        "python benchmarks/training.py",
        "The whole step of `any-to-any` over that of a bare loop of the same forward, backward and fused AdamW; "
        "`seconds` of each round are in the JSON.",
        "The bare loop is simpler, and faster: it neither fetches rows, draws tasks, clips, averages, nor can go on "
        "after it was killed.",
        [Bar("our loop over the bare loop", lambda result: result["ratio"], 1.05, at_most=True)],
    ),
    "busy": Section(
        "Training beside another process",
        "python benchmarks/busy.py",
        "Steps of `any-to-any` in the same time by the clock, on the idle machine and beside a process at full load, "
        "with all cores; how late each ended, and how long its validations took.",
        NO_PEER
        + "how threads wait for one another is a setting of OpenMP, which other libraries leave at its default.",
        [Bar("steps beside a process at full load over idle steps", lambda result: result["ratio"], 0.4)],
    ),
    "kills": Section(
        "Killed at any moment",
        "python benchmarks/kills.py",
        "Each command on a tiny world, killed by SIGKILL or stopped by SIGTERM at random times, then called again: "
        "wrong is a status, a result that is not that of an undisturbed call bit for bit, or something half written.",
        NO_PEER + "nothing is compared.",
        [Bar("disturbed calls that ended wrong", lambda result: result["wrong"], 0, at_most=True)],
    ),
    "bulk": Section(
        "Large tables: opened, planned, filled in bulk",
        "python benchmarks/bulk.py",
        "Seconds of the processor, each in a process of its own. A table of text, label and vector is opened for the "
        "first and the second time, after the library is imported; memory is what the process alone holds, divided by "
        "the rows. A plan is made of one file, and of a hundred. A table is filled here and by actors of Ray, all of "
        "whose processes count. Workers, drivers and Ray's head are killed at random, and what is left in the end is "
        "compared by the byte.",
        "`datasets` writes the table as Arrow and then gives every row as Python objects; it prepares nothing for a "
        "model.",
        [
            Bar(
                "first load over reading and decoding by datasets",
                lambda result: result["load"]["first"]["seconds"] / result["load"]["datasets, every row"]["seconds"],
                2.0,
                at_most=True,
            ),
            Bar("seconds of a second load", lambda result: result["load"]["second"]["seconds"], 2.0, at_most=True),
            Bar("bytes a row, beyond what is mapped", lambda result: result["load"]["second"]["bytes_a_row"], 64, True),
            Bar(
                "memory of the plan of a hundred times the rows, over that of one",
                lambda result: result["plan"]["hundred files"]["mebibytes"] / result["plan"]["one file"]["mebibytes"],
                1.1,
                at_most=True,
            ),
            Bar(
                "processor time a row, filled on Ray over local",
                lambda result: (
                    result["fill"]["ray, 2 actors"]["milliseconds a row"]
                    / result["fill"]["local"]["milliseconds a row"]
                ),
                1.15,
                at_most=True,
            ),
            Bar(
                "killed, and not the same bytes",
                lambda result: sum(not trial["same bytes"] for trial in result["kills"].values()),
                0,
                at_most=True,
            ),
        ],
    ),
    "sampler": Section(
        "A sampling step against diffusers",
        "python benchmarks/sampler.py",
        "Fifty Euler steps with a network that costs nothing; both end at the same place. What is left is what the "
        "sampler itself costs.",
        "With a real network the difference hardly shows. diffusers has dozens of schedulers, among them multistep "
        "solvers that need fewer evaluations for the same picture; we have three solvers.",
        [Bar("times less overhead than diffusers, its times prepared", lambda result: result["ratio"], 2.0)],
    ),
    "decoding": Section(
        "Greedy decoding against transformers",
        "python benchmarks/decoding.py",
        "The same weights, 6 layers of 256, in our autoregressive head and in a Llama of transformers; both give the "
        "same tokens. The speed-up is over transformers as it comes; its own compiled step stands beside it.",
        "transformers runs every architecture of the hub, decodes with beams, assistants and quantised weights, and "
        "its compiled step narrows the gap; ours decodes our own head alone.",
        [
            _decoded("eager", 1, 1.8),
            _decoded("compiled", 1, 2.4),
            _decoded("eager", 16, 1.25),
        ],
    ),
    "export": Section(
        "Directions as files of ONNX",
        "python benchmarks/export.py",
        "Every field that a recipe generates, as one file that takes any of the recipe's inputs; models with weights "
        "moved at random. `difference` is the largest between what the file and PyTorch draw; ids must be equal. Times "
        "are of one sample, all inputs given. The JSON has the reasons of refusals.",
        NO_PEER + "optimum exports networks, and leaves samplers to its own pipelines.",
        [
            Bar(
                "the greatest difference of a file from PyTorch", lambda r: max(_exported(r, "difference")), 1e-4, True
            ),
            Bar(
                "decoding of ids by onnxruntime, times as fast as ours: the least",
                lambda r: min(_exported(r, "ratio", ("Autoregressive", "Recurrent"))),
                1.5,
            ),
        ],
    ),
    "scores": Section(
        "The scorecard in worlds whose answer is known",
        "python benchmarks/scores.py",
        "What the figures of the scorecard say of models whose quality is known, by values of ten dimensions, "
        "pictures, labels and words of 100, 200 and 1,000 rows, alone and four to an input. `found worse` is the share "
        "of repetitions in which a figure finds the model worse than the perfect one. The known value has a closed "
        "form where it says so; else it is the mean over the repetitions, as the figure depends on the number of rows.",
        NO_PEER + "no library that we know of gives intervals for these figures.",
        [
            Bar("intervals that hold the known value: the least share", lambda r: min(_held(r)), 0.93),
            Bar("intervals that hold the known value: the greatest share", lambda r: max(_held(r)), 0.97, at_most=True),
            Bar("figures whose mean finds every worse model worse", _ordered, 1.0),
            Bar(
                "two equal models told apart at 0.05: the greatest share", lambda r: max(_alarms(r)), 0.07, at_most=True
            ),
            Bar("two equal models told apart at 0.05: the least share", lambda r: min(_alarms(r)), 0.03),
            Bar("copies of 5, 20 and 60 thousand values that are found", _copies, 1.0),
        ],
    ),
    "audio": Section(
        "Spectrograms and Griffin-Lim against librosa",
        "python benchmarks/audio.py",
        "Clips of a second at 16 kHz at equal settings; equal log-mels, and a spectral convergence that is no worse.",
        "librosa has far more than these two (constant-Q transforms, chroma, beats, pitch), needs no PyTorch, and "
        "reads any length in one call without padding a batch.",
        [
            _sound("log-mel, per clip", 3.5),
            _sound("log-mel, batched", 1.2),
            _sound("Griffin-Lim, per clip", 3.5),
            _sound("Griffin-Lim, batched", 2.2),
        ],
    ),
    "pipeline": Section(
        "Input pipeline",
        "python benchmarks/pipeline.py",
        "Pictures of 64 x 64 and names, from the memory-mapped cache to tensors, after the first epoch, on one core.",
        NO_PEER
        + "the first epoch pays for it, as every picture is decoded into the cache, which takes the disk space of the "
        "raw pixels; loaders that stream compressed files need none.",
        [Bar("rows a second", lambda result: result["rows_per_second"]["batch and decode"], 20_000)],
    ),
    "modalities": Section(
        "Single modalities",
        "python benchmarks/modalities.py",
        "Recipes on the built-in data set of a modality, scored on held-out rows by judges that have seen none of what "
        "the generators saw, beside real values and the cheapest baseline. `moving`: class by a classifier of what is "
        "tracked, path by tracking; held-out pairs of class and motion are in no training row. `presenter`: the "
        "opening of the mouth as pixels show it, against the truth, and against what a judge hears in speech that was "
        "made; voices and sentences are in no training row. `mouth`: that opening alone, as a series, by "
        "`speech-to-mouth`. `emoji-motion`: whether the nearest clip in pixels has the asked name.",
        "none of the libraries that these pages compare with trains video on two cores in ten minutes.",
        [
            _moving("text-to-video", "class", 0.9),
            _moving("text-to-video", "path", 0.9),
            _moving("text-to-video", "both", 0.8),
            _moving("text-to-video", "both, held-out pairs", 0.6),
            _moving("video-to-text", "class", 0.9),
            _moving("video-to-text", "path", 0.9),
            _distance("text-to-video", "retrieval", 1.0, at_most=True),
            _distance("real, frames shuffled", "real", 5.0),
            _presenter("speech -> face", 0.85),
            _presenter("text -> speech + face", 0.75),
            Bar(
                "mouth, speech-to-mouth: correlation over retrieval's",
                lambda r: min(
                    seed["speech-to-mouth"]["correlation"] / seed["retrieval"]["correlation"]
                    for seed in r["mouth"].values()
                ),
                1.0,
            ),
        ],
    ),
    "serving": Section(
        "Serving",
        "python benchmarks/serving.py RUN --openai-tests FOLDER",
        "A server in a process of its own, asked over loopback by clients that share its two cores, so that times are "
        "by the clock. `client`: the tests of openai-python's `tests/api_resources`; those that fail are listed in the "
        "JSON by what was said: routes that there are none of, and requests with bytes that are no picture or sound. "
        "`requests`: made up by schemathesis from the page on OpenAPI.",
        NO_PEER + "servers of single models, such as vLLM, batch within a decoding step and use GPUs.",
        [
            Bar("pairs whose bytes are the same alone and among others", _same_bytes, 1.0),
            Bar("times serial throughput, 16 clients", lambda result: result["throughput"]["ratio"], 3.0),
            Bar("honest requests that failed", lambda result: result["load"]["failed"], 0, at_most=True),
            Bar("seconds to the first picture, cold", lambda r: r["cold"]["first_picture_seconds"], 5.0, at_most=True),
            Bar(
                "kinds of answers that OpenAPI does not tell",
                lambda result: len(result["requests"]["failures"]),
                0,
                at_most=True,
            ),
        ],
    ),
    "shards": Section(
        "Training from shards",
        "python benchmarks/shards.py",
        "A training from shards on a server that waits 20 ms before each answer, with a cache of a tenth of the "
        "decoded rows, beside the same rows in memory: weights, and the processor's time.",
        NO_PEER + "the server is on the same machine.",
        [
            Bar("the same weights, to the bit", lambda result: result["same_weights"], 1),
            Bar("processor's time over that from memory", lambda result: result["ratio"], 1.1, at_most=True),
        ],
    ),
}
