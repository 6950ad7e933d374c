"""A small synchronous client of the step contract: one stream, requests ahead, answers in order."""

import contextlib
import queue
from collections.abc import Iterator, Mapping

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from shared.step import Chunk, EngineInfo, EngineRequest, OpenEpoch, RefusalCode, StepPlan, StepResult
from shared.tensors import OUTPUTS, Array, decode_result, encode_request

MODEL = "llamacpp"
ANSWER_WITHIN_S = 60.0


class EngineClient:
    """One stream to an engine.

    Attributes:
        info: what the engine said of itself when its last epoch was opened.
    """

    info: EngineInfo

    def __init__(self, client: triton.InferenceServerClient, model: str = MODEL) -> None:
        self.triton = client
        self._model = model
        self._answers: queue.SimpleQueue[tuple[triton.InferResult, InferenceServerException | None]]
        self._answers = queue.SimpleQueue()
        client.start_stream(lambda result, error: self._answers.put((result, error)))

    def send_tensors(self, tensors: Mapping[str, Array]) -> None:
        inputs = []
        for name, array in tensors.items():
            tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype.type))
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        self.triton.async_stream_infer(self._model, inputs)

    def send(self, request: EngineRequest) -> None:
        self.send_tensors(encode_request(request))

    def receive(self) -> StepResult:
        result, error = self._answers.get(timeout=ANSWER_WITHIN_S)
        if error is not None:
            raise error
        return decode_result({spec.name: result.as_numpy(spec.name) for spec in OUTPUTS})

    def ask(self, request: EngineRequest) -> StepResult:
        self.send(request)
        return self.receive()

    def open_epoch(self) -> None:
        """Empty the engine; steps count from 1 again."""
        opened = self.ask(OpenEpoch())
        assert opened.info is not None, opened.refusal
        self.info, self.boot_id, self.epoch, self.last_step = opened.info, opened.boot_id, opened.epoch, 0

    def plan(self, *chunks: Chunk, released: tuple[int, ...] = ()) -> StepPlan:
        """The next step's plan."""
        self.last_step += 1
        return StepPlan(self.boot_id, self.epoch, self.last_step, chunks, released)

    def step(self, *chunks: Chunk, released: tuple[int, ...] = ()) -> StepResult:
        """Run the next step, which must not be refused."""
        result = self.ask(self.plan(*chunks, released=released))
        assert result.refusal is None, result.refusal
        assert (result.epoch, result.step) == (self.epoch, self.last_step)
        return result

    def refusal(self, request: StepPlan) -> RefusalCode | None:
        """The name of what is wrong with the request."""
        refusal = self.ask(request).refusal
        return None if refusal is None else refusal.code


@contextlib.contextmanager
def connected(grpc_port: int, model: str = MODEL) -> Iterator[EngineClient]:
    """A client with an epoch of its own."""
    with triton.InferenceServerClient(f"127.0.0.1:{grpc_port}") as client:
        engine = EngineClient(client, model)
        try:
            engine.open_epoch()
            yield engine
        finally:
            client.stop_stream(cancel_requests=True)


def is_ready(grpc_port: int, model: str = MODEL) -> bool:
    """Whether the server is up and has the model."""
    with triton.InferenceServerClient(f"127.0.0.1:{grpc_port}") as client:
        with contextlib.suppress(InferenceServerException):
            return bool(client.is_model_ready(model))
        return False
