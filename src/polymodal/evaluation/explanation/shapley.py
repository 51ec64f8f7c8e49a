"""Shapley values: how much of the worth of a coalition is due to each of its players."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

Coalition = frozenset[str]


def coalitions(players: Sequence[str]) -> list[Coalition]:
    """All subsets, from none to all: 2 ** n of them."""
    return [frozenset(chosen) for size in range(len(players) + 1) for chosen in combinations(players, size)]


def shapley_values(worth: Mapping[Coalition, float]) -> dict[str, float]:
    """Each player's exact share: what it adds to a coalition, averaged over all orders in which players may join.

    The shares sum to the worth of all less that of none.

    Args:
        worth: Of every coalition of the players.

    Source: Shapley, "A value for n-person games", 1953.
    """
    players = sorted(frozenset().union(*worth))
    orders = factorial(len(players))

    def weight(size: int) -> float:
        """Share of the orders in which a given player comes after just this many given others."""
        return factorial(size) * factorial(len(players) - size - 1) / orders

    return {
        player: sum(
            weight(len(before)) * (value_with - worth[before])
            for before, value_with in ((chosen - {player}, v) for chosen, v in worth.items() if player in chosen)
        )
        for player in players
    }
