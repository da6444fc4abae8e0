"""Dtypes, as the text that names them.

A strategy here is a choice of names; whether a device has the dtype is found out by the harness, which passes
over an example that names one the device lacks.
"""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

FLOATING = ("torch.float32", "torch.float64", "torch.float16", "torch.bfloat16")
COMPLEX = ("torch.complex64", "torch.complex128")
INTEGRAL = ("torch.int64", "torch.int32", "torch.int16", "torch.int8", "torch.uint8", "torch.bool")
UNSIGNED = ("torch.uint8", "torch.bool")
TARGET = st.just("dtype")
"""The dtype that the test is run for: use it with a test that names `dtype`."""


@cache
def floating() -> st.SearchStrategy[str]:
    """Real floating-point dtypes."""
    return st.sampled_from(FLOATING)


@cache
def complex_() -> st.SearchStrategy[str]:
    """Complex dtypes."""
    return st.sampled_from(COMPLEX)


@cache
def differentiable() -> st.SearchStrategy[str]:
    """Every dtype that may require gradients: real and complex floating point."""
    return st.sampled_from(FLOATING + COMPLEX)


@cache
def integral() -> st.SearchStrategy[str]:
    """Integer dtypes and bool, which may not require gradients."""
    return st.sampled_from(INTEGRAL)


def number_suffix(dtype: str) -> str:
    """What follows an integer so that it reads as a number of that dtype; "j" if it takes an imaginary part, too."""
    return "" if dtype in INTEGRAL else "j" if dtype in COMPLEX else "."
