from infra.native.history import Program, read_history

LOG = """\
2026-01-05 06:41:02,870 INFO supervisord started with pid 90
2026-01-05 06:41:03,873 INFO spawned: 'nats' with pid 100
2026-01-05 06:41:03,874 INFO spawned: 'prism' with pid 101
2026-01-05 06:41:03,953 WARN exited: prism (exit status 1; not expected)
2026-01-05 06:41:05,694 INFO spawned: 'prism' with pid 102
2026-01-05 06:41:07,366 INFO success: nats entered RUNNING state, process has stayed up for > than 3 seconds (startsecs)
"""


def test_a_program_that_runs_has_its_newest_process() -> None:
    assert read_history(LOG) == {
        "nats": Program(name="nats", pid=100, starts=1),
        "prism": Program(name="prism", pid=102, starts=2, last_exit="exit status 1; not expected"),
    }


def test_a_program_that_was_stopped_has_no_process() -> None:
    nats = read_history(f"{LOG}2026-01-05 06:42:00,000 INFO stopped: nats (exit status 0)\n")["nats"]
    assert (nats.pid, nats.last_exit, nats.given_up) == (None, "exit status 0", False)


def test_a_program_that_supervisor_gave_up_is_told() -> None:
    given_up = " INFO gave up: prism entered FATAL state, too many start retries too quickly\n"
    assert read_history(f"{LOG}2026-01-05 06:42:00,000{given_up}")["prism"].given_up


def test_every_start_counts() -> None:
    again = "2026-01-05 06:43:00,000 WARN exited: nats (terminated by SIGSEGV; not expected)\n2026-01-05 06:43:01,000 INFO spawned: 'nats' with pid 110\n"
    nats = read_history(LOG + again * 3)["nats"]
    assert (nats.starts, nats.pid) == (4, 110)


def test_a_line_that_is_not_yet_whole_is_passed_over() -> None:
    assert read_history("2026-01-05 06:41:03,873 INFO spawned: 'na") == {}
