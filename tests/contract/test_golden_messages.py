"""The bytes that other versions wrote and will read: a change here is a change of the contract."""

import msgspec
import pytest

from shared.engine_state import EngineState
from shared.forecast import Forecast, ModelHealth
from shared.receipt import Receipt
from shared.steptime import Residuals
from shared.telemetry import IdleReport, Outcome, RequestReport, StepReport, Telemetry
from shared.wire import Message, UnreadableMessage, decode, encode

STEP = StepReport(
    step=7,
    start_s=1.5,
    batch_size=3,
    prefill_seqs=1,
    prefill_tokens=64,
    decode_tokens=2,
    kv_tokens=310,
    attention_work=2048.0,
    planned_ms=150.0,
    predicted_ms=141.5,
    duration_ms=139.25,
    wall_ms=140.0,
)
REQUEST = RequestReport(
    request_id="r1",
    slo_class="interactive",
    outcome=Outcome.STOP,
    prompt_tokens=12,
    output_tokens=5,
    target_ttft_ms=2500.0,
    predicted_ttft_ms=180.0,
    ttft_ms=175.5,
    tpot_ms=30.0,
    e2e_ms=295.5,
)
GOLDEN: list[tuple[Message, bytes]] = [
    (
        Telemetry(
            engine="large", lens="ab12", sequence=3, reports=(STEP, IdleReport(idle_s=1.0), REQUEST), kind="cpu tiny"
        ),
        (
            b'{"v":1,"engine":"large","lens":"ab12","sequence":3,"reports":['
            b'{"type":"step","step":7,"start_s":1.5,"batch_size":3,"prefill_seqs":1,"prefill_tokens":64,"decode_tokens":2,'
            b'"kv_tokens":310,"attention_work":2048.0,"planned_ms":150.0,"predicted_ms":141.5,"duration_ms":139.25,'
            b'"wall_ms":140.0},{"type":"idle","idle_s":1.0},'
            b'{"type":"request","request_id":"r1","slo_class":"interactive","outcome":"stop","prompt_tokens":12,'
            b'"output_tokens":5,"target_ttft_ms":2500.0,"target_tpot_ms":null,"target_e2e_ms":null,'
            b'"predicted_ttft_ms":180.0,"predicted_tpot_ms":null,"ttft_ms":175.5,"tpot_ms":30.0,"e2e_ms":295.5,'
            b'"relegated":false}],"kind":"cpu tiny"}'
        ),
    ),
    (
        Forecast(
            engine="large",
            written_at_s=1000.5,
            health=ModelHealth.WARMING,
            steps_learned=50,
            mape=0.04,
            coefficients_ms={"base": 8.0},
            uncertainty_ms={"base": 0.5},
            floor_ms=4.0,
            decode=Residuals(factor=1.01, deviation=0.02, lower=1.5, upper=1.75),
            capacity_tokens_per_s=400.0,
            doubt_ms=((0.5,), (0.25, 0.125)),
        ),
        (
            b'{"v":1,"engine":"large","written_at_s":1000.5,"health":"warming","steps_learned":50,"mape":0.04,'
            b'"coefficients_ms":{"base":8.0},"uncertainty_ms":{"base":0.5},"floor_ms":4.0,'
            b'"decode":{"factor":1.01,"deviation":0.02,"lower":1.5,"upper":1.75},'
            b'"mixed":{"factor":1.0,"deviation":0.1,"lower":1.645,"upper":1.645},'
            b'"capacity_tokens_per_s":400.0,"doubt_ms":[[0.5],[0.25,0.125]]}'
        ),
    ),
    (
        EngineState(
            engine="large",
            url="http://127.0.0.1:8010",
            model="m",
            executor="llamacpp",
            hardware_class="cpu",
            emulated=False,
            announced_at_s=1000.5,
            max_context_tokens=2048,
            max_running=16,
            step_tokens=256,
            step_target_ms=150.0,
            kv_blocks_total=512,
            kv_block_tokens=16,
            kv_blocks_free=500,
            prefill_tokens_by_due=(64, 0, 0, 0, 0, 0, 0, 32),
            prefills_by_due=(2, 0, 0, 0, 0, 0, 0, 1),
            arriving_tokens_per_s=(0.0, 12.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
            arriving_per_s=0.25,
            credit_ms=20.5,
            admitted={"prism-1": 4},
            lateness_counts=(1200, 3),
            prefix_epoch="b00t-2",
            prefix_serial=70,
            prefix_blocks=9,
            prefix_changes=("-0123456789abcdef", "+fedcba9876543210"),
        ),
        (
            b'{"v":1,"engine":"large","url":"http://127.0.0.1:8010","model":"m","executor":"llamacpp",'
            b'"hardware_class":"cpu","emulated":false,"announced_at_s":1000.5,"draining":false,"serving":true,'
            b'"max_context_tokens":2048,"max_running":16,"step_tokens":256,"step_target_ms":150.0,"least_prefill_tokens":16,"kv_blocks_total":512,'
            b'"kv_block_tokens":16,"kv_blocks_free":500,"decode_seqs":0,"prefill_seqs":0,"kv_tokens":0,"waiting_requests":0,'
            b'"waiting_prefill_tokens":0,"prefill_tokens_by_due":[64,0,0,0,0,0,0,32],"prefills_by_due":[2,0,0,0,0,0,0,1],'
            b'"arriving_tokens_per_s":[0.0,12.5,0.0,0.0,0.0,0.0,0.0,0.0],"arriving_per_s":0.25,"credit_ms":20.5,'
            b'"in_flight_ms":0.0,"admitted":{"prism-1":4},"lateness_counts":[1200,3],'
            b'"prefix_epoch":"b00t-2","prefix_serial":70,"prefix_blocks":9,"prefix_changes":["-0123456789abcdef","+fedcba9876543210"]}'
        ),
    ),
    (
        Receipt(
            request_id="r1",
            replica="prism-1",
            model="m",
            slo_class="interactive",
            target_ttft_ms=2500.0,
            engine="large",
            reason="least-predicted",
            tries=1,
            predicted_ttft_ms=180.0,
            p_met=0.97,
            state_age_ms=12.5,
            route_ms=0.75,
            sent_ms=1.5,
            status=200,
            outcome="answered",
            met=True,
            ttft_ms=175.5,
            e2e_ms=295.5,
            output_tokens=1,
        ),
        (
            b'{"v":1,"request_id":"r1","replica":"prism-1","model":"m","slo_class":"interactive","tenant":"",'
            b'"target_ttft_ms":2500.0,"target_tpot_ms":null,"target_e2e_ms":null,"engine":"large","reason":"least-predicted",'
            b'"tries":1,"predicted_ttft_ms":180.0,"predicted_tpot_ms":null,"p_met":0.97,"best_other_p_met":null,'
            b'"state_age_ms":12.5,"route_ms":0.75,"sent_ms":1.5,"status":200,"outcome":"answered","refused":false,"met":true,'
            b'"ttft_ms":175.5,"tpot_ms":null,"e2e_ms":295.5,"output_tokens":1}'
        ),
    ),
]
NAMES = [type(message).__name__ for message, _ in GOLDEN]


@pytest.mark.parametrize(("message", "golden"), GOLDEN, ids=NAMES)
def test_a_message_is_written_as_ever(message, golden):
    assert encode(message) == golden


@pytest.mark.parametrize(("message", "golden"), GOLDEN, ids=NAMES)
def test_what_was_written_is_read(message, golden):
    assert decode(golden, type(message)) == message


@pytest.mark.parametrize(("message", "golden"), GOLDEN, ids=NAMES)
def test_a_field_that_a_later_version_adds_is_no_obstacle(message, golden):
    assert decode(golden[:-1] + b',"later":1}', type(message)) == message


def test_a_state_from_before_lateness_was_counted_is_read_as_knowing_none():
    state, golden = GOLDEN[2]
    older = golden.replace(b',"lateness_counts":[1200,3]', b"")
    assert older != golden
    assert decode(older, EngineState) == msgspec.structs.replace(state, lateness_counts=())


@pytest.mark.parametrize(
    ("data", "problem"),
    [(b"{", "truncated"), (b"{}", "engine"), (b'{"v":"1"}', "Expected `int`")],
)
def test_what_cannot_be_read_says_why(data, problem):
    with pytest.raises(UnreadableMessage, match=problem):
        decode(data, Forecast)


def test_a_version_from_the_future_is_refused_by_number():
    forecast = GOLDEN[1][0]
    with pytest.raises(UnreadableMessage, match="version 9"):
        decode(encode(msgspec.structs.replace(forecast, v=9)), Forecast)


def test_a_state_from_before_prefixes_were_told_of_is_read_as_telling_of_none():
    state, golden = GOLDEN[2]
    older = golden[: golden.index(b',"prefix_epoch"')] + b"}"
    none: dict[str, object] = {"prefix_epoch": "", "prefix_serial": 0, "prefix_blocks": 0, "prefix_changes": ()}
    assert decode(older, EngineState) == msgspec.structs.replace(state, **none)
