import json
from pathlib import Path

import pytest

from loadgen.sources import Source, read_sources
from loadgen.traces import BadTrace, TraceRequest, detect_format, read_trace
from loadgen.workload import ClassTrace

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens\r
2023-11-16 18:15:46.6805900,374,44\r
2023-11-16 18:15:50.9951690,396,109\r
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:01+00:00,2399,6
"""
BURSTGPT = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
45,s-1,3.2,ChatGPT,1087,230,1317,Conversation log
47,s-1,0.4,ChatGPT,1200,0,1200,Conversation log
118,,5.0,GPT-4,417,276,693,API log
"""
BURSTGPT_1 = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45.0,GPT-4,417,276,693,API log
"""
MOONCAKE = """{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 48]}
{"timestamp": 30535, "input_length": 600, "output_length": 26, "hash_ids": [46, 57]}
"""
SHAREGPT = json.dumps(
    [
        {"id": "a_0", "conversations": [{"from": "human", "value": "Why?" * 10}, {"from": "gpt", "value": "So." * 4}]},
        {"id": "b_0", "conversations": [{"from": "gpt", "value": "Go on."}]},
        {"id": "c_0", "conversations": [{"from": "user", "value": "Hi!"}, {"from": "assistant", "value": "Hello."}]},
    ],
    indent=1,
)
VIDUR = "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n3772,54,3826,69.8\n2015,156.0,2171,12.9\n"
PLAIN = "\ufeffprompt_tokens, output_tokens\n12,5\n\n7,9\n"

SAMPLES = {
    "azure": ("conv.csv", AZURE),
    "burstgpt": ("BurstGPT.csv", BURSTGPT),
    "mooncake": ("trace.jsonl", MOONCAKE),
    "sharegpt": ("sharegpt.json", SHAREGPT),
    "vidur": ("arxiv.csv", VIDUR),
    "lengths": ("mine.csv", PLAIN),
}


@pytest.fixture
def trace(tmp_path):
    def write(text: str, name: str = "trace.csv") -> Path:
        path: Path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        return path

    return write


@pytest.mark.parametrize("kind", SAMPLES)
def test_each_format_is_told_from_its_suffix_and_header(trace, kind):
    name, text = SAMPLES[kind]
    path = trace(text, name)
    assert detect_format(path) == kind
    assert read_trace(path) == read_trace(path, kind)


def test_azure_instants_count_from_the_first_request(trace):
    first, second = read_trace(trace(AZURE))
    assert first == TraceRequest(0.0, 374, 44)
    assert second.at_s == pytest.approx(4.314579, abs=1e-6)
    assert (second.prompt_tokens, second.output_tokens) == (396, 109)


def test_azure_instants_may_have_a_zone_and_no_fraction(trace):
    assert read_trace(trace(AZURE_2024))[1].at_s == pytest.approx(0.99007, abs=1e-6)


def test_azure_instants_may_have_a_zone_and_a_short_fraction(trace):
    at_s = [request.at_s for request in read_trace(trace(AZURE_2024.replace("01+00:00", "01.5+00:00")))]
    assert at_s == pytest.approx([0.0, 1.49007], abs=1e-6)


def test_burstgpt_requests_that_failed_are_left_out(trace):
    assert read_trace(trace(BURSTGPT)) == (
        TraceRequest(0.0, 1087, 230, session="s-1"),
        TraceRequest(73.0, 417, 276),
    )


def test_the_first_releases_of_burstgpt_have_no_sessions(trace):
    assert read_trace(trace(BURSTGPT_1)) == (TraceRequest(0.0, 472, 18), TraceRequest(40.0, 417, 276))


def test_mooncake_requests_have_milliseconds_and_the_ids_of_their_blocks(trace):
    first, second = read_trace(trace(MOONCAKE, "trace.jsonl"))
    assert first == TraceRequest(0.0, 6955, 52, prefix_ids=(46, 47, 48))
    assert second.at_s == pytest.approx(3.053)
    assert second.prefix_ids == (46, 57)


def test_sharegpt_has_the_first_exchange_of_each_conversation_that_a_person_begins(trace):
    first, second = read_trace(trace(SHAREGPT, "sharegpt.json"))
    assert first == TraceRequest(None, 10, 3, text="Why?" * 10)
    assert second.text == "Hi!"


def test_lengths_have_no_arrivals(trace):
    assert read_trace(trace(VIDUR)) == (TraceRequest(None, 3772, 54), TraceRequest(None, 2015, 156))
    assert read_trace(trace(PLAIN)) == (TraceRequest(None, 12, 5), TraceRequest(None, 7, 9))


def test_a_trace_out_of_order_is_put_in_order(trace):
    at_s = [request.at_s for request in read_trace(trace(BURSTGPT_1.replace("5,ChatGPT", "90,ChatGPT")))]
    assert at_s == [0.0, 45.0]


@pytest.mark.parametrize(
    ("name", "text", "line", "field", "problem"),
    [
        ("a.csv", AZURE.replace(",396,", ",many,"), 3, "ContextTokens", "'many' is not a whole number"),
        ("a.csv", AZURE.replace(",396,", ",,"), 3, "ContextTokens", "is empty"),
        ("a.csv", AZURE.replace(",109", ""), 3, "GeneratedTokens", "is empty"),
        ("a.csv", AZURE.replace(",374,", ",0,"), 2, "ContextTokens", "0 is below 1"),
        ("a.csv", AZURE.replace(",396,", ",10000001,"), 3, "ContextTokens", "10000001 is above 10000000"),
        ("a.csv", AZURE.replace("18:15:50", "25:15:50"), 3, "TIMESTAMP", "is not an instant"),
        ("b.csv", BURSTGPT.replace("\n118,", "\nsoon,"), 4, "Timestamp", "'soon' is not a number"),
        ("b.csv", BURSTGPT.replace("\n118,", "\ninf,"), 4, "Timestamp", "inf is not finite"),
        ("b.csv", BURSTGPT.replace("276", "-3"), 4, "Response tokens", "-3 is below 0"),
        ("l.csv", VIDUR.replace("2015", "2015.5"), 3, "num_prefill_tokens", "'2015.5' is not a whole number"),
        ("m.jsonl", MOONCAKE.replace("26", '"26"'), 2, "output_length", "Expected `int`, got `str`"),
        ("m.jsonl", MOONCAKE.replace("[46, 57]", "[46, null]"), 2, "hash_ids[1]", "Expected `int`, got `null`"),
        ("m.jsonl", MOONCAKE.replace('"input_length": 600, ', ""), 2, "input_length", "missing required field"),
        ("m.jsonl", MOONCAKE.replace("[46, 57]", "[46, 57, 58]"), 2, "hash_ids", "3 ids, but 600 tokens are 2 blocks"),
        ("m.jsonl", MOONCAKE.replace("600", "10000001"), 2, "input_length", "Expected `int` <= 10000000"),
        ("m.jsonl", MOONCAKE + "{", 3, None, "truncated"),
        ("m.jsonl", MOONCAKE + '{"x": ' + "[" * 100_000, 3, None, "recursion"),
        ("s.json", "[" * 100_000, None, None, "recursion"),
        (
            "s.json",
            SHAREGPT.replace('"value": "Go on."', '"text": "?"'),
            15,
            "[1].conversations[0].value",
            "missing required field",
        ),
        ("s.json", "{}", None, None, "Expected `array`"),
        ("x.csv", "when,what\n", 1, None, "no known format"),
        ("a.csv", AZURE.splitlines()[0], None, None, "has no request"),
        ("a.csv", "", 1, None, "no known format"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_field(trace, name, text, line, field, problem):
    path = trace(text, name)
    with pytest.raises(BadTrace) as raised:
        read_trace(path)
    assert (raised.value.line, raised.value.field) == (line, field)
    assert problem in raised.value.problem
    assert str(raised.value).startswith(str(path))
    assert line is None or f"line {line}" in str(raised.value)


@pytest.mark.parametrize("kind", ["mooncake", "sharegpt"])
def test_a_byte_order_mark_is_passed_over(trace, kind):
    name, text = SAMPLES[kind]
    assert read_trace(trace("\ufeff" + text, name)) == read_trace(trace(text, name))


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [("a.csv", AZURE.replace(",396,", ",é,"), 3), ("x.csv", "é", 1), ("s.json", SHAREGPT.replace("Go", "é"), 15)],
)
def test_what_is_not_in_utf8_is_told_with_its_line(tmp_path, name, text, line):
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadTrace, match=r"utf-8|UTF-8") as raised:
        read_trace(path)
    assert raised.value.line == line


def test_prompts_made_impossibly_long_are_refused(trace):
    made_longer = ClassTrace(name="trace.csv", longer=1e300)
    with pytest.raises(BadTrace, match=r"1e\+300 times longer"):
        read_sources([Source(trace(AZURE), slo_class="chat", trace=made_longer)])


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadTrace, match=r"gone\.csv: .*No such file"):
        read_trace(tmp_path / "gone.csv")


def test_a_header_without_a_field_of_the_format_asked_for_is_told(trace):
    with pytest.raises(BadTrace, match="line 1, TIMESTAMP: is not in the header"):
        read_trace(trace(VIDUR), "azure")
