"""spec/devices/accelerator.md"""

from concurrent.futures import ThreadPoolExecutor

import torch

from tests.harness.bindings import rule
from tests.inputs.circumstances import UNRECORDED, also


def holds_numbers(place):
    """Whether a number can be put there and read back."""
    try:
        return place is not None and torch.tensor([3.0]).to(place).to("cpu").tolist() == [3.0]
    except (RuntimeError, AssertionError):
        return False


def current_accelerator():
    """The accelerator, or None also where torch raises instead, as 2.6 does."""
    try:
        return torch.accelerator.current_accelerator()
    except RuntimeError:
        return None


@rule("devices.accelerator.is-available")
@also(*UNRECORDED)
def test_an_accelerator_is_available_exactly_if_it_holds_numbers():
    is_available = torch.accelerator.is_available()
    assert type(is_available) is bool
    accelerator = current_accelerator()
    assert accelerator is None or accelerator.type != "cpu"
    assert is_available == holds_numbers(accelerator)
    assert torch.accelerator.is_available() is is_available
    for block in (torch.no_grad(), torch.enable_grad(), torch.inference_mode(), torch.device("meta")):
        with block:
            assert torch.accelerator.is_available() is is_available
            now = current_accelerator()
            assert (now is None and accelerator is None) or now.type == accelerator.type
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(torch.accelerator.is_available).result() is is_available


@rule("devices.accelerator.device-expression")
@also(*UNRECORDED)
def test_the_device_expression_names_a_device_that_holds_numbers():
    place = current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    assert place is not None
    for block in (torch.no_grad(), torch.enable_grad(), torch.inference_mode()):
        with block:
            assert holds_numbers(place.type)
    assert torch.tensor([3.0]).to(place.type).device.type == place.type
