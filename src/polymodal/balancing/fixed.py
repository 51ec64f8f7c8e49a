"""The weights of the recipe."""

from polymodal.balancing.base import Balancer, Seen


class Fixed(Balancer):
    """Each loss keeps the weight that the recipe gives its field. Costs nothing."""

    watches = False

    def update(self, seen: Seen) -> None:
        pass
