"""spec/devices/cuda-queries.md"""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.harness.bindings import rule
from tests.inputs.circumstances import UNRECORDED, also


def holds_numbers(place):
    """Whether a number can be put there and read back."""
    try:
        return torch.tensor([3.0]).to(place).to("cpu").tolist() == [3.0]
    except (RuntimeError, AssertionError):
        return False


@rule("devices.cuda-queries.is-available")
@also(*UNRECORDED)
def test_cuda_is_available_exactly_if_a_cuda_device_holds_numbers():
    is_available = torch.cuda.is_available()
    assert type(is_available) is bool
    assert is_available == holds_numbers("cuda")
    assert torch.cuda.is_available() is is_available
    torch.cuda.manual_seed(0)
    for block in (torch.no_grad(), torch.enable_grad(), torch.inference_mode(), torch.device("meta")):
        with block:
            assert torch.cuda.is_available() is is_available
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(torch.cuda.is_available).result() is is_available
    device = torch.device("cuda" if is_available else "cpu")
    assert str(device) == ("cuda" if is_available else "cpu")
    assert holds_numbers(device)


@rule("devices.cuda-queries.device-name")
@also(*UNRECORDED)
def test_a_device_has_a_name_and_no_device_has_none():
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        assert all(isinstance(name, str) for name in names)
    else:
        for device in (0, 0, 1, 7, -1, None, "cuda", "cuda:0", "cuda:1", torch.device("cuda"), torch.device("cuda", 1)):
            with pytest.raises((AssertionError, RuntimeError)):
                torch.cuda.get_device_name(device)
            with pytest.raises((AssertionError, RuntimeError)), torch.no_grad():
                torch.cuda.get_device_name(device=device)
        with pytest.raises((AssertionError, RuntimeError)):
            torch.cuda.get_device_name()
        assert torch.cuda.is_available() is False
