"""Numpy arrays as DLPack capsules, for what takes no array as it is: Triton's Python backend and numpy 2 disagree.

`pb_utils.Tensor(name, array)` sends an empty tensor under numpy 2, and numpy's own capsules make the backend print a
traceback each, since their destructor does not expect the name that the backend gives them. These have no destructor.
"""

import ctypes
from typing import Any

import numpy as np

from shared.tensors import Array

_CPU = 1
_BITS_IN_BYTE = 8
_KIND_CODES = {"i": 0, "u": 1, "f": 2}


class _Tensor(ctypes.Structure):
    """`DLTensor` of dlpack.h, device and type spelled out."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("type_code", ctypes.c_uint8),
        ("type_bits", ctypes.c_uint8),
        ("type_lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _ManagedTensor(ctypes.Structure):
    """`DLManagedTensor` of dlpack.h."""

    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)

_lent: dict[int, tuple[Any, ...]] = {}
"""What must stay in memory, by the address of the managed tensor, until its consumer calls the deleter."""


def _take_back(address: int) -> None:
    del _lent[address]


_deleter = _Deleter(_take_back)


def capsule(array: Array) -> Any:
    """A capsule that lends the array's memory; its consumer must take it and give it back by the deleter."""
    contiguous = np.ascontiguousarray(array)
    shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    managed = _ManagedTensor(
        _Tensor(
            data=contiguous.ctypes.data,
            device_type=_CPU,
            ndim=array.ndim,
            type_code=_KIND_CODES[array.dtype.kind],
            type_bits=array.dtype.itemsize * _BITS_IN_BYTE,
            type_lanes=1,
            shape=shape,
        ),
        deleter=_deleter,
    )
    address = ctypes.addressof(managed)
    _lent[address] = (managed, shape, contiguous)
    return _new_capsule(address, b"dltensor", None)
