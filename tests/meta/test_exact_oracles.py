"""The oracles of exact arithmetic, against polynomials whose derivatives are known by heart and against NumPy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import array, summed_to
from tests.oracles.dual import Dual

WHOLE = st.integers(-9, 9)


@given(x=WHOLE, a=WHOLE, b=WHOLE, c=WHOLE)
def test_a_polynomial_of_a_dual_number_has_the_derivative_of_the_polynomial(x: int, a: int, b: int, c: int) -> None:
    found = a * Dual(x, 1) * Dual(x, 1) - Dual(x, 1) * b + c
    assert (found.value, found.slope) == (a * x * x - b * x + c, 2 * a * x - b)


@given(x=WHOLE, y=WHOLE)
def test_quotients_differences_and_signs_of_dual_numbers_are_fractions(x: int, y: int) -> None:
    found = (3 - Dual(x, 1)) / 4 + -Dual(y) - 1
    assert (found.value, found.slope) == (Fraction(3 - x, 4) - y - 1, Fraction(-1, 4))


@pytest.mark.parametrize("shape", [(), (3,), (1,), (2, 1), (1, 1), (2, 3), (4, 1, 3), (1, 2, 1)])
def test_what_is_summed_to_a_shape_counts_the_copies_of_a_stretched_element(shape: tuple[int, ...]) -> None:
    whole = np.broadcast_to(np.ones(shape), np.broadcast_shapes(shape, (4, 2, 3)))
    copies = whole.size // np.ones(shape).size
    assert summed_to(shape, whole).tolist() == np.full(shape, copies).tolist()


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3), (2, 0, 1)])
def test_an_array_has_the_shape_and_the_elements_of_its_tensor_and_memory_of_its_own(shape: tuple[int, ...]) -> None:
    x = torch.arange(6.0)[: int(np.prod(shape))].reshape(shape).requires_grad_()
    copy = array(x)
    copy[...] = 7
    assert copy.shape == shape
    assert array(x).shape == shape
    assert 7 not in array(x)
