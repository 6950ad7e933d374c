"""The engine over gRPC: one bidirectional stream an epoch, so that steps run in the order in which they were sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import structlog
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from services.lens.session import EngineLost
from shared.step import EngineRequest, OpenEpoch, Probe, StepResult
from shared.tensors import OUTPUTS, MalformedTensorsError, decode_result, encode_request

log = structlog.get_logger()

OPEN_TIMEOUT_S = 10.0
LATE_S = 1.0
DIRECTLY = [("grpc.enable_http_proxy", 0)]
"""An engine is never behind a proxy, whatever the environment names for other ends."""
RELOAD_TIMEOUT_S = 60.0
UNLOAD_POLL_S = 0.05


class TritonSession:
    """One epoch of one engine; see `services.lens.session.EngineSession`."""

    def __init__(self, client: triton_aio.InferenceServerClient, model: str) -> None:
        self._client = client
        self._model = model
        self._requests: asyncio.Queue[EngineRequest] = asyncio.Queue()
        self._answers: Any = client.stream_infer(self._encoded())

    async def open(self) -> None:
        """Open a new epoch, which empties the engine.

        Raises:
            EngineLost: it does not answer, or not as an engine of this contract.
        """
        self.send(OpenEpoch())
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                opened = await self.receive()
        except TimeoutError:
            raise EngineLost(f"the model did not open an epoch within {OPEN_TIMEOUT_S} s") from None
        if opened.info is None:
            raise EngineLost(f"the model refused to open an epoch: {opened.refusal}")
        self.info, self.boot_id, self.epoch = opened.info, opened.boot_id, opened.epoch

    def send(self, request: EngineRequest) -> None:
        """Put a request on its way; does not wait. The loop bounds how many are on theirs."""
        self._requests.put_nowait(request)

    def close(self) -> None:
        """End the stream."""
        self._answers.cancel()

    async def receive(self) -> StepResult:
        """The next answer. While it is late, the model is probed: it never answers for a step that it died of.

        Raises:
            EngineLost: the stream has broken, carries something else, or the model has died.
        """
        answer = asyncio.ensure_future(self._next_answer())
        try:
            while not (await asyncio.wait((answer,), timeout=LATE_S))[0]:
                await self._probe_beside(answer)
            return answer.result()
        finally:
            answer.cancel()

    async def probe(self) -> StepResult:
        """What the engine says of itself now, on a stream of its own.

        Raises:
            EngineLost: as `receive`; a model that has died may also never answer.
        """
        aside = TritonSession(self._client, self._model)
        aside.send(Probe())
        try:
            return await aside._next_answer()
        finally:
            aside.close()

    async def _probe_beside(self, answer: asyncio.Future[StepResult]) -> None:
        """Returns when the model has shown that it lives, or the answer has come."""
        probe = asyncio.ensure_future(self.probe())
        try:
            await asyncio.wait((answer, probe), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                probe.result()
        finally:
            probe.cancel()

    async def _next_answer(self) -> StepResult:
        try:
            result, error = await anext(self._answers)
        except StopAsyncIteration:
            raise EngineLost("the stream has ended") from None
        except InferenceServerException as broken:
            raise EngineLost(f"the stream has broken: {broken.message()}") from broken
        except grpc.aio.AioRpcError as broken:  # a server that dies; tritonclient lets it through
            raise EngineLost(f"the stream has broken: {broken.details()}") from broken
        if error is not None:
            raise EngineLost(f"the model has failed: {error.message()}")
        try:
            return decode_result({spec.name: result.as_numpy(spec.name) for spec in OUTPUTS})
        except MalformedTensorsError as malformed:
            raise EngineLost(f"the model answers in another form: {malformed}") from malformed

    async def _encoded(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            tensors = encode_request(await self._requests.get())
            inputs = []
            for name, array in tensors.items():
                tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype.type))
                tensor.set_data_from_numpy(array)
                inputs.append(tensor)
            yield {"model_name": self._model, "inputs": inputs}


@contextlib.asynccontextmanager
async def open_session(address: str) -> AsyncIterator[TritonSession]:
    """A new epoch of the engine at `host:port`; its one model is found by asking, and loaded anew if it has died.

    Raises:
        EngineLost: the server is away, or its model does not come back.
    """
    async with triton_aio.InferenceServerClient(address, channel_args=DIRECTLY) as client:
        try:
            model = await _find_model(client)
            session = TritonSession(client, model)
            try:
                await session.open()
            except EngineLost as error:
                session.close()
                await _reload(client, model, str(error))
                session = TritonSession(client, model)
                await session.open()
        except InferenceServerException as error:
            raise EngineLost(f"the server at {address} does not answer: {error.message()}") from error
        except grpc.aio.AioRpcError as error:
            raise EngineLost(f"the server at {address} does not answer: {error.details()}") from error
        try:
            yield session
        finally:
            session.close()


async def _find_model(client: triton_aio.InferenceServerClient) -> str:
    index = await client.get_model_repository_index(client_timeout=OPEN_TIMEOUT_S)
    names = [str(model.name) for model in index.models]
    if len(names) != 1:
        raise EngineLost(f"the server should have one model; it has {names}")
    return names[0]


async def _reload(client: triton_aio.InferenceServerClient, model: str, problem: str) -> None:
    """Triton never restarts a model whose Python has died, and goes on calling it ready."""
    log.warning("reloading the model", model=model, problem=problem)
    try:
        async with asyncio.timeout(RELOAD_TIMEOUT_S):
            await client.unload_model(model)
            while await client.is_model_ready(model):
                await asyncio.sleep(UNLOAD_POLL_S)
            await client.load_model(model)
    except TimeoutError:
        raise EngineLost(f"the model did not reload within {RELOAD_TIMEOUT_S} s") from None
