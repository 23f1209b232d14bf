"""What a recipe is, and several as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import ShardingError, nearest, shown
from ..errors.arguments import checked

Apply = Callable[[Any, Any], Any]
Inner = tuple[Apply, Apply | None, Apply]
"""What shards a pipeline besides: its layers; each stage, by functions of the user's; each stage, by recipes."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What shards a model; `order` says which of several is applied first."""

    name: str
    apply: Apply
    order: int
    around: Callable[[Any], AbstractContextManager[None]] | None = None
    """For a mesh, a context in which the sharded model runs."""
    staged: Callable[[Any, Any, Any, Inner | None], Any] | None = None
    """Cuts a model into stages of a pipeline: given also the arguments of a call, and what splits layers and stages."""

    def __call__(self, model: Any, mesh: Any) -> Any:
        """Shard a model over a mesh."""
        return self.apply(model, mesh)

    def __repr__(self) -> str:
        return f"fxcost.parallel.{self.name}"


OF_LAYERS = (1, 2)
"""The `order` of what splits single layers; what comes later is for a model as a whole."""


def _order(recipe: Any) -> int:
    return recipe.order if isinstance(recipe, Recipe) else 0


def _one_by_one(recipes: Sequence[Any]) -> Apply:
    def apply(model: Any, mesh: Any) -> Any:
        for recipe in recipes:
            made = recipe(model, mesh)
            model = model if made is None else made
        return model

    return apply


def along(mesh: Any, dim: str) -> Any:
    """The part of a mesh along a dimension.

    Raises:
        ShardingError: it has no such dimension.
    """
    names = mesh.mesh_dim_names or ()
    if dim not in names:
        near = nearest(dim, names)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, names))}"
        raise ShardingError(f"the mesh has no dimension {shown(dim)}; {hint}")
    return mesh[dim] if len(names) > 1 else mesh


@checked
def together(*recipes: Any) -> Recipe:
    """Several recipes as one: tensor parallel first, then FSDP, then DDP, whatever their order here.

    Functions of your own go first, in their order. With a pipeline tensor and context parallel split the layers of the
    whole model, all others shard the stages of a rank, each by itself.

    Raises:
        ShardingError: two of them are pipelines.
    """
    pipelines = [recipe.staged for recipe in recipes if isinstance(recipe, Recipe) and recipe.staged is not None]
    others = [recipe for recipe in recipes if getattr(recipe, "staged", None) is None]
    if len(pipelines) > 1:
        raise ShardingError("two pipelines of one model: give one of them")

    ordered = sorted(others, key=_order)
    apply = _one_by_one(ordered)

    def staged(model: Any, mesh: Any, arguments: Any, inner: Inner | None) -> Any:
        of_layers = [recipe for recipe in ordered if _order(recipe) in OF_LAYERS]
        of_parts = [recipe for recipe in ordered if not isinstance(recipe, Recipe)]
        of_stages = [recipe for recipe in ordered if isinstance(recipe, Recipe) and recipe.order not in OF_LAYERS]
        parts = _one_by_one(of_parts) if of_parts else None
        return pipelines[0](model, mesh, arguments, (_one_by_one(of_layers), parts, _one_by_one(of_stages)))

    contexts = [recipe.around for recipe in recipes if isinstance(recipe, Recipe) and recipe.around is not None]

    @contextmanager
    def around(mesh: Any) -> Iterator[None]:
        with ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context(mesh))
            yield

    return Recipe("together", apply, 0, around if contexts else None, staged if pipelines else None)
