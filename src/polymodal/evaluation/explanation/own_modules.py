"""A model whose modules may be watched and changed, beside the one that others are using."""

from copy import deepcopy

from polymodal.model import Model


def with_own_modules(model: Model) -> Model:
    """A copy of a model with modules of its own, on the same weights, so that what is hooked to them is seen by nobody.

    Hooks belong to a module: on a model that other threads call, they would see and replace what those compute.
    """
    shared = [model.recipe, *model.modalities.values(), *model.parameters()]
    return deepcopy(model, {id(thing): thing for thing in shared})
