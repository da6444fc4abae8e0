"""Tensors with an index that fits them, an `np.s_` expression that indexes a tensor and a NumPy array alike.

Indices are chosen from lists that a generator of fixed seed fills: one draw instead of a dozen, because a search
that draws an index part by part spends its examples on the empty index.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from random import Random

from hypothesis import strategies as st

from . import layouts as memory
from .expression import Expression
from .shapes import Shape, shapes_by_dims
from .tensors import tensor_of

EACH = 120
"""Indices for each number of dimensions."""

Kind = Callable[[Random, Shape], list[str]]
"""Gives the parts of one index for a shape."""


def _slice(random: Random, size: int, steps: tuple[int, ...] = (1, 1, 2, 3)) -> str:
    """Bounds inside, outside, crossed or left out."""
    start, stop = ((random.choice(["", random.randint(-size - 1, size + 1)])) for _ in range(2))
    step = random.choice(steps)
    return f"{start}:{stop}" + (f":{step}" if step != 1 else "")


def _part(random: Random, size: int) -> str:
    """An integer where there is an element, or a slice."""
    if size and random.random() < 0.4:
        return str(random.randrange(-size, size))
    return _slice(random, size)


def basic(random: Random, shape: Shape) -> list[str]:
    """Integers and slices with positive steps, `...` and `None` among them now and then."""
    kept = random.randint(min(1, len(shape)), len(shape))
    parts = [_part(random, size) for size in shape[:kept]]
    if random.random() < 0.3:
        later = random.randint(0, kept)
        parts[kept - later :] = ["...", *(_part(random, size) for size in shape[len(shape) - later :])]
    if random.random() < 0.3 or not parts:
        parts.insert(random.randint(0, len(parts)), "None")
    return parts


def backward(random: Random, shape: Shape) -> list[str]:
    """A slice with a negative step behind ordinary ones."""
    last = random.randrange(len(shape))
    return [*(_slice(random, size) for size in shape[:last]), _slice(random, shape[last], (-1, -2))]


def out_of_range(random: Random, shape: Shape) -> list[str]:
    """An integer past either end of one dimension, or one index more than there are dimensions."""
    last = random.randint(0, len(shape))
    if last == len(shape):
        return [":"] * last + ["0"]
    size = shape[last]
    return [":"] * last + [str(random.choice([size, size + 1, -size - 1, -size - 2]))]


def selection(random: Random, shape: Shape, distinct: bool = False) -> list[str]:
    """A mask, an index tensor or two side by side, behind slices: what torch and NumPy read alike."""
    first = random.choice([0] * len(shape) + [*range(1, len(shape))])
    before = [_slice(random, size) for size in shape[:first]]
    sizes = shape[first:]
    kind = random.choice(["mask", "mask", "numbers", "pairs"]) if all(sizes[:2]) else "mask"
    if kind == "pairs" and len(sizes) > 1 and not distinct:
        return [*before, _numbers(random, sizes[0]), _numbers(random, sizes[1], column=True)]
    if kind == "numbers":
        return [*before, _numbers(random, sizes[0], distinct)]
    return [*before, _mask(random, sizes[: random.choice([1, len(sizes)])])]


def distinct_selection(random: Random, shape: Shape) -> list[str]:
    """A selection that picks no element twice."""
    return selection(random, shape, distinct=True)


def _numbers(random: Random, size: int, distinct: bool = False, column: bool = False) -> str:
    """Positions in one dimension, some counted from its end."""
    count = random.randint(0, size if distinct else 4)
    positions = random.sample(range(size), count) if distinct else random.choices(range(size), k=count)
    if random.random() < 0.3:
        positions = sorted(set(positions))
    positions = [position - size * (random.random() < 0.3) for position in positions]
    if column:
        return f"torch.tensor({[[position] for position in positions or [0]]}, device=device)"
    return f"torch.tensor({positions}, dtype=torch.int64, device=device)"


def _mask(random: Random, sizes: Shape) -> str:
    """True and False, in one case out of five the one or the other throughout."""
    likely = random.choice([0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0])
    flags = [int(random.random() < likely) for _ in range(math.prod(sizes))]
    return f"torch.tensor({flags}, dtype=torch.bool, device=device).reshape({sizes})"


@cache
def _fitting(kind: Kind, min_dims: int) -> st.SearchStrategy[tuple[Shape, str]]:
    random = Random(0)
    pairs = {
        (shape, f"np.s_[{', '.join(kind(random, shape))}]")
        for same_dims in shapes_by_dims(min_dims)
        for shape in random.choices(same_dims, k=EACH if len(same_dims) > 1 else EACH // 10)
    }
    return st.sampled_from(sorted(pairs, key=lambda pair: (len(pair[0]), len(pair[1]), pair)))


@cache
def _fitting_any(kinds: tuple[Kind, ...], min_dims: int) -> st.SearchStrategy[tuple[Shape, str]]:
    return st.one_of(*(_fitting(kind, min_dims) for kind in kinds))


@st.composite
def indexed(
    draw: st.DrawFn,
    *kinds: Kind,
    dtypes: st.SearchStrategy[str],
    among: tuple[memory.Layout, ...] = memory.EVERY,
    min_dims: int = 1,
) -> tuple[Expression, Expression]:
    """A tensor and an index of one of these kinds. dtypes and among: as for `tensors`."""
    shape, index = draw(_fitting_any(kinds, min_dims))
    layout = draw(memory.layouts(shape, among))
    return tensor_of(draw, shape, draw(dtypes), layout), Expression(index)
