"""Dual numbers: exact derivatives of programs of sums, products and quotients, computed forwards.

A dual number carries a value and its derivative by one chosen variable. Each operation applies one rule of calculus to
both, so that a program run on dual numbers computes its own derivative, with fractions, and without a graph.
"""

# The class is written out above a failing program, where annotations are evaluated: those that name it are strings.

from fractions import Fraction


class Dual:
    """value + slope * e, where e * e = 0."""

    def __init__(self, value: float | Fraction, slope: float | Fraction = 0) -> None:
        self.value, self.slope = Fraction(value), Fraction(slope)

    @staticmethod
    def of(number: "Dual | float | Fraction") -> "Dual":
        return number if isinstance(number, Dual) else Dual(number)

    def __add__(self, other: "Dual | float") -> "Dual":
        term = Dual.of(other)
        return Dual(self.value + term.value, self.slope + term.slope)

    def __mul__(self, other: "Dual | float | Fraction") -> "Dual":
        factor = Dual.of(other)
        return Dual(self.value * factor.value, self.slope * factor.value + self.value * factor.slope)

    def __truediv__(self, number: float) -> "Dual":
        return self * Fraction(1, Fraction(number))

    def __neg__(self) -> "Dual":
        return self * -1

    def __sub__(self, other: "Dual | float") -> "Dual":
        return self + -Dual.of(other)

    def __rsub__(self, other: "Dual | float") -> "Dual":
        return -self + other

    __radd__, __rmul__ = __add__, __mul__
