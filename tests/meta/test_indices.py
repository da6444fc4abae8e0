"""What `tests.inputs.indices` draws is what its names say, for NumPy, which both sides are compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.inputs.expression import Expression, build
from tests.inputs.indices import Kind, backward, basic, distinct_selection, indexed, out_of_range, selection

INT64 = st.just("torch.int64")


def _built(pair: tuple[Expression, Expression]) -> tuple[np.ndarray[Any, Any], Any]:
    """An array that numbers its elements, and the index with arrays for tensors."""
    namespace: dict[str, Any] = {"torch": torch, "np": np, "device": "cpu"}
    x, index = (build(namespace, name, value) for name, value in zip(("x", "index"), pair, strict=True))
    parts = index if isinstance(index, tuple) else (index,)
    array = np.arange(x.numel()).reshape(tuple(x.shape))
    return array, tuple(part.numpy() if isinstance(part, torch.Tensor) else part for part in parts)


def _of(kind: Kind, **options: int) -> Callable[..., Any]:
    return given(pair=indexed(kind, dtypes=INT64, **options))  # type: ignore[arg-type]


@_of(basic, min_dims=0)
def test_a_basic_index_is_a_view_for_numpy(pair: tuple[Expression, Expression]) -> None:
    array, index = _built(pair)
    assert array[index].size == 0 or np.shares_memory(array[index], array) or not isinstance(array[index], np.ndarray)


@_of(backward)
def test_a_backward_index_has_a_negative_step(pair: tuple[Expression, Expression]) -> None:
    array, index = _built(pair)
    assert index[-1].step < 0
    assert array[index].ndim == array.ndim


@_of(out_of_range, min_dims=0)
def test_numpy_refuses_what_is_out_of_range(pair: tuple[Expression, Expression]) -> None:
    array, index = _built(pair)
    with pytest.raises(IndexError):
        array[index]


@_of(selection)
def test_a_selection_is_a_copy_for_numpy(pair: tuple[Expression, Expression]) -> None:
    array, index = _built(pair)
    assert not np.shares_memory(array[index], array)


@_of(distinct_selection)
def test_a_distinct_selection_picks_no_element_twice(pair: tuple[Expression, Expression]) -> None:
    array, index = _built(pair)
    picked = array[index].reshape(-1).tolist()
    assert len(picked) == len(set(picked))
