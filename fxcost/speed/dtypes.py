"""Under which name a dtype's peak stands; complex numbers run at the speed of their parts."""

from __future__ import annotations

import re
from typing import Any

from ..errors import DeviceError, shown

_ALIASES = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "fp64": "float64"} | {
    "float": "float32", "double": "float64", "fp8": "float8", "fp4": "float4", "bfloat": "bfloat16",
    "complex32": "float16", "complex64": "float32", "complex128": "float64",
    "qint8": "int8", "quint8": "int8", "uint8": "int8",
}  # fmt: skip


def dtype_key(dtype: Any) -> str:
    """The name under which a dtype's peak stands in :attr:`Device.flops_per_s`.

    >>> dtype_key("bf16"), dtype_key("torch.float8_e4m3fn"), dtype_key("complex64")
    ('bfloat16', 'float8', 'float32')

    Raises:
        DeviceError: it is neither a dtype nor the name of one.
    """
    if not isinstance(dtype, str) and type(dtype).__module__ != "torch":
        raise DeviceError(f"{shown(dtype)} is no dtype; give a torch.dtype or a name such as 'bfloat16'")
    name = str(dtype).removeprefix("torch.").lower()
    name = re.sub("^(float[84])_.*$", r"\1", name)
    return _ALIASES.get(name, name)
