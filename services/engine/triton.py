"""Between Triton's Python backend and the device: tensors in, tensors out. Runs only inside Triton's stub process."""

import functools
import secrets
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

from services.engine.device import Device, Executor
from services.engine.dlpack import capsule
from shared.step import Refusal, RefusalCode, StepResult
from shared.tensors import Array, decode_request, encode_result

BOOT_ID_BITS = 63


class StepModel:
    """A decoupled Triton model that runs steps on one executor."""

    def __init__(self, executor: Executor) -> None:
        self._device = Device(executor, boot_id=secrets.randbits(BOOT_ID_BITS))

    def take(self, requests: Iterable[Any]) -> None:
        """Hand the requests to the device, in order; returns before they have run."""
        for request in requests:
            answer = functools.partial(_send, request.get_response_sender())
            try:
                decoded = decode_request({tensor.name(): _array(tensor) for tensor in request.inputs()})
            except (ValueError, BufferError, RuntimeError) as error:
                self._device.refuse(Refusal(RefusalCode.MALFORMED, str(error)), answer)
            else:
                self._device.submit(decoded, answer)

    def stop(self) -> None:
        """Answer what has been taken, then stop the device."""
        self._device.stop()


def _array(tensor: Any) -> Array:
    return cast("Array", np.from_dlpack(tensor))  # its own as_numpy() repeats the first element under numpy 2


def _send(sender: Any, result: StepResult) -> None:
    tensors = [pb_utils.Tensor.from_dlpack(name, capsule(array)) for name, array in encode_result(result).items()]
    sender.send(pb_utils.InferenceResponse(tensors), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
