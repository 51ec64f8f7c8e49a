"""Whether a judge is able: what its scores are worth, by how often it is right about real values."""

from __future__ import annotations

from polymodal.evaluation.scorecard import Score, Scorecard

ABLE = 0.5
"""Share of real values about which an able judge is right, at least."""
LEAST_RANGE = 0.05
"""Distance of real values' score from chance below which a score tells nothing."""
_SCORES = ("judge's top-1", "pocketsphinx's top-1", "judge's recall@1")
"""The scores that tell whether a judge is right about single values."""


def unable_judges(card: Scorecard) -> list[str]:
    """A sentence on each judge and field of which the judge is wrong about most real values.

    Real values that it has not learned from tell, if the scorecard knows of any; else those of the rows.
    """
    held_out = (card.facts.get("judge") or {}).get("held_out") or {}
    sentences = []
    for name in dict.fromkeys(score.output for score in card.scores):
        for metric in _SCORES:
            scores = [s for s in card.scores if s.output == name and s.metric == metric and s.ceiling is not None]
            if not scores:
                continue
            best = max(scores, key=lambda score: score.ceiling or 0.0)
            right, count = best.ceiling or 0.0, best.rows
            if metric == "judge's top-1" and name in held_out:
                right, count = held_out[name]["top_1"], int(held_out[name]["values"])
            if right < ABLE:
                sentences.append(_sentence(name, best, right, count))
    return sentences


def _sentence(name: str, score: Score, right: float, count: int) -> str:
    who = score.metric.partition("'s")[0].replace("judge", "The judge")
    chance = "" if score.chance is None else f"; {score.chance:.0%} by chance"
    worth = "little"
    if score.chance is not None and right - 2 * (right * (1 - right) / max(count, 1)) ** 0.5 <= score.chance:
        worth = "nothing"
    return (
        f"{who} is unable: it is right about {right:.0%} of {count:,} real values of '{name}'{chance}. Its scores of "
        f"'{name}' tell {worth} of the model, as a perfect one would have no more."
    )


def telling_range(score: Score) -> tuple[float, float] | None:
    """What chance and real values score; None if that is unknown, about the same, or said by an unable judge."""
    if score.ceiling is None or score.chance is None or abs(score.ceiling - score.chance) < LEAST_RANGE:
        return None
    return None if score.metric in _SCORES and score.ceiling < ABLE else (score.chance, score.ceiling)


def standing(score: Score) -> str:
    """Where a score lies, with its interval: at ``chance``, at ``real``, ``between`` them, or ``unknown``."""
    if (ends := telling_range(score)) is None:
        return "unknown"
    chance, real = ends
    at_chance = score.low <= chance if real > chance else score.high >= chance
    at_real = score.high >= real if real > chance else score.low <= real
    if at_chance and at_real:
        return "unknown"
    return "chance" if at_chance else "real" if at_real else "between"
