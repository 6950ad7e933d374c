"""Each Triton model's configuration says the step contract's tensors, and runs as the engine needs it."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]
from tritonclient.grpc import model_config_pb2

from shared.tensors import INPUTS, OUTPUTS, TensorSpec

MODELS = Path(__file__).parents[2] / "services" / "engine" / "models"
TRITON_TYPES = {"int64": "TYPE_INT64", "int32": "TYPE_INT32", "float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}


@pytest.fixture(params=sorted(path.name for path in MODELS.iterdir()))
def config(request) -> Any:
    text = (MODELS / request.param / "config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.name == request.param
    return config


def said(tensors: Any) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(t.name, model_config_pb2.DataType.Name(t.data_type), tuple(t.dims)) for t in tensors]


def wanted(specs: tuple[TensorSpec, ...]) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(spec.name, TRITON_TYPES[spec.dtype.name], spec.shape) for spec in specs]


def test_inputs_and_outputs_are_those_of_the_contract(config):
    assert said(config.input) == wanted(INPUTS)
    assert said(config.output) == wanted(OUTPUTS)


def test_one_decoupled_instance_runs_steps_unbatched_on_the_python_backend(config):
    assert config.backend == "python"
    assert config.max_batch_size == 0
    assert config.model_transaction_policy.decoupled
    assert [(group.count, group.kind) for group in config.instance_group] == [
        (1, model_config_pb2.ModelInstanceGroup.KIND_CPU)
    ]
