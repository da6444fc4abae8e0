"""What is drawn: Hypothesis strategies that draw source text, so that a failure can be pasted and run."""

from . import dtypes, layouts
from .arrays import arrays, telling_shapes, tensors_of_numpy_dtypes
from .expression import Expression
from .functions import elementwise, places, routes
from .modes import blocks
from .shapes import broadcasting_pairs, shapes, shapes_of_one_element, shapes_of_other_sizes, tails
from .tensors import leaves, like, on_the_cpu, tensors
from .updates import updates

__all__ = [
    "Expression",
    "arrays",
    "blocks",
    "broadcasting_pairs",
    "dtypes",
    "elementwise",
    "layouts",
    "leaves",
    "like",
    "on_the_cpu",
    "places",
    "routes",
    "shapes",
    "shapes_of_one_element",
    "shapes_of_other_sizes",
    "tails",
    "telling_shapes",
    "tensors",
    "tensors_of_numpy_dtypes",
    "updates",
]
