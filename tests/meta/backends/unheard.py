"""A device that the suite has never heard of: a PrivateUse1 backend in Python, with the CPU behind it.

Each storage of the device stands for a storage of the CPU. An operator runs on CPU tensors that have the same sizes,
strides and offset over those storages, so views alias and in-place writes are seen, as on a real device. Backwards
run on a thread of the device, as torch arranges for every accelerator. Needs torch 2.11 or later.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "unheard"
_setup_privateuseone_for_python_backend(NAME)

_memory: dict[int, torch.UntypedStorage] = {}
"""The CPU's storage behind each storage of the device, by its address; an address used anew is registered anew."""

_SHAPES_ONLY = torch._C.DispatchKeySet(torch._C.DispatchKey.Meta)


def is_here(value: object) -> bool:
    """Whether a tensor is on this device, or a device is this device."""
    if isinstance(value, torch.Tensor):
        return value.device.type == NAME
    return isinstance(value, torch.device) and value.type == NAME


def behind(tensor: torch.Tensor) -> torch.Tensor:
    """The CPU tensor over the memory of a tensor of this device."""
    memory = _memory[tensor.untyped_storage()._cdata]
    return torch.empty(0, dtype=tensor.dtype).set_(memory, tensor.storage_offset(), tensor.size(), tensor.stride())


def here(cpu: torch.Tensor, sharing: torch.Tensor | None = None) -> torch.Tensor:
    """A tensor of this device over the memory of a CPU tensor; `sharing` is one that is in the same storage already."""
    if sharing is None or sharing.dtype != cpu.dtype:
        memory = cpu.untyped_storage()
        sharing = torch._C._acc.create_empty_tensor((memory.nbytes() // cpu.element_size(),), cpu.dtype)
        _memory[sharing.untyped_storage()._cdata] = memory
    # A tensor made in Python has no strides but its own; the kernel that computes only shapes gives it any.
    return torch.ops.aten.as_strided.default.redispatch(
        _SHAPES_ONLY, sharing, cpu.size(), cpu.stride(), cpu.storage_offset()
    )


def run_on_cpu(operator: Any, *args: Any, **kwargs: Any) -> Any:
    """The kernel of every operator: run it on the memory behind the arguments and bring the results here."""
    by_tensor: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    by_memory: dict[int, torch.Tensor] = {}

    def there(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and is_here(value):
            cpu = behind(value)
            by_tensor[id(cpu)] = (cpu, value)
            by_memory[cpu.untyped_storage()._cdata] = value
            return cpu
        return torch.device("cpu") if is_here(value) else value

    def back(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in by_tensor:
            return by_tensor[id(value)][1]
        return here(value, by_memory.get(value.untyped_storage()._cdata))

    results = operator(*pytree.tree_map(there, args), **pytree.tree_map(there, kwargs))
    for cpu, tensor in by_tensor.values():
        if (cpu.size(), cpu.stride()) != (tensor.size(), tensor.stride()):
            become(tensor, cpu)
    return pytree.tree_map(back, results)


def become(tensor: torch.Tensor, cpu: torch.Tensor) -> None:
    """Give a tensor of this device the sizes, strides and memory of its CPU tensor, which an operator has changed."""
    torch.ops.aten.set_.source_Storage_storage_offset.redispatch(
        _SHAPES_ONLY, tensor, here(cpu).untyped_storage(), cpu.storage_offset(), cpu.size(), cpu.stride()
    )


def copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """Copies to, from and within the device."""
    (behind(target) if is_here(target) else target).copy_(behind(source) if is_here(source) else source)
    return target


def empty(size: Any, *, dtype: Any = None, memory_format: Any = None, **_: Any) -> torch.Tensor:
    return here(torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format))


def empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> torch.Tensor:
    return here(torch.empty_strided(size, stride, dtype=dtype))


_every = torch.library.Library("_", "IMPL")
_every.fallback(run_on_cpu, "PrivateUse1")
_aten = torch.library.Library("aten", "IMPL")
_aten.impl("_copy_from", copy_from, "PrivateUse1")
_aten.impl("empty.memory_format", empty, "PrivateUse1")
_aten.impl("empty_strided", empty_strided, "PrivateUse1")
for _name in ("squeeze_", "squeeze_.dim", "unsqueeze_", "transpose_", "t_"):
    # Torch's own kernels for these look for the memory in a storage of the device, where there is none.
    _packet, _, _overload = _name.partition(".")
    _aten.impl(
        _name, partial(run_on_cpu, getattr(getattr(torch.ops.aten, _packet), _overload or "default")), "PrivateUse1"
    )
