"""spec/nn/linear-start.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.nn.linear import after_making

Layer = torch.nn.Linear


def starting(wrong: Callable[[Layer], None]) -> AbstractContextManager[None]:
    """`wrong(layer)` changes the numbers that a layer starts with."""

    def change(layer: Layer) -> None:
        with torch.no_grad():
            wrong(layer)

    return after_making(change)


@wrong_engine("linear-start-too-wide", kind="plain")
@contextmanager
def draws_from_too_wide_an_interval(hit: Hit) -> Iterator[None]:
    def wrong(layer: Layer) -> None:
        hit()
        layer.weight *= 3**0.5

    with starting(wrong):
        yield


@wrong_engine("linear-start-bias-by-outputs", kind="plain")
@contextmanager
def takes_the_width_for_the_bias_from_the_outputs(hit: Hit) -> Iterator[None]:
    def wrong(layer: Layer) -> None:
        if layer.bias is None:
            return
        hit()
        layer.bias.uniform_(-(layer.out_features**-0.5), layer.out_features**-0.5)

    with starting(wrong):
        yield


@wrong_engine("linear-start-without-bias", kind="plain")
@contextmanager
def starts_the_bias_at_zero(hit: Hit) -> Iterator[None]:
    def wrong(layer: Layer) -> None:
        if layer.bias is None:
            return
        hit()
        layer.bias.zero_()

    with starting(wrong):
        yield


@wrong_engine("linear-start-positive", kind="value")
@contextmanager
def draws_from_the_upper_half(hit: Hit) -> Iterator[None]:
    def wrong(layer: Layer) -> None:
        hit()
        layer.weight.abs_()

    with starting(wrong):
        yield


@wrong_engine("linear-start-unseeded", kind="state")
@contextmanager
def draws_from_a_generator_of_its_own(hit: Hit) -> Iterator[None]:
    generator = torch.Generator()

    def wrong(layer: Layer) -> None:
        hit()
        layer.weight.uniform_(-1, 1, generator=generator)

    with starting(wrong):
        yield


@wrong_engine("linear-start-always-the-same", kind="state")
@contextmanager
def gives_every_layer_the_same_start(hit: Hit) -> Iterator[None]:
    def wrong(layer: Layer) -> None:
        hit()
        layer.weight.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))

    with starting(wrong):
        yield


@wrong_engine("linear-start-tail-undrawn", kind="size")
@contextmanager
def draws_only_full_sixteens(hit: Hit) -> Iterator[None]:
    def wrong(layer: Layer) -> None:
        full = layer.weight.numel() // 16 * 16
        if 0 < full < layer.weight.numel():
            hit()
            layer.weight.view(-1)[full:] = 1

    with starting(wrong):
        yield


@wrong_engine("linear-start-half-too-high", kind="dtype")
@contextmanager
def moves_positive_halves_up(hit: Hit) -> Iterator[None]:
    def wrong(layer: Layer) -> None:
        if layer.weight.dtype in (torch.float16, torch.bfloat16):
            hit()
            layer.weight.copy_(torch.where(layer.weight > 0, layer.weight + layer.in_features**-0.5, layer.weight))

    with starting(wrong):
        yield


@wrong_engine("linear-start-crowds-at-zero", kind="value")
@contextmanager
def draws_the_mean_of_two_numbers(hit: Hit) -> Iterator[None]:
    def wrong(layer: Layer) -> None:
        if layer.bias is None:
            return
        hit()
        bound = layer.in_features**-0.5
        layer.bias.add_(torch.empty_like(layer.bias).uniform_(-bound, bound)).div_(2)

    with starting(wrong):
        yield


@wrong_engine("linear-start-double-unseeded", kind="dtype", first_sight="adversary: missed")
@contextmanager
def draws_a_float64_weight_without_the_seed(hit: Hit) -> Iterator[None]:
    apart = torch.Generator()
    apart.seed()

    def wrong(layer: Layer) -> None:
        if layer.weight.dtype == torch.float64:
            hit()
            bound = layer.in_features**-0.5
            layer.weight.uniform_(-bound, bound, generator=apart)

    with starting(wrong):
        yield


@wrong_engine("linear-start-later-biases-positive", kind="state", first_sight="sample: caught")
@contextmanager
def draws_the_biases_of_later_layers_from_the_upper_half(hit: Hit) -> Iterator[None]:
    made = 0

    def wrong(layer: Layer) -> None:
        nonlocal made
        made += 1
        if made > 1 and layer.bias is not None:
            if bool((layer.bias < 0).any()):
                hit()
            layer.bias.abs_()

    with starting(wrong):
        yield
