"""What the command line says of mistakes that no single option has."""

from pathlib import Path

import pytest

from loadgen.__main__ import main


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (b"--class 'chat:\n", "No closing quotation"),
        (b"--class \xe9\n", "not in UTF-8"),
        (b"@mine.args\n", "stands for itself"),
    ],
)
def test_a_file_of_arguments_that_is_none_is_wrong_use(tmp_path, monkeypatch, capsys, written, problem):
    monkeypatch.chdir(tmp_path)
    Path("mine.args").write_bytes(written)
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "@mine.args"])
    assert ended.value.code == 2
    assert problem in capsys.readouterr().err


def test_rows_that_cannot_be_written_fail_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("runs").write_text("not a folder")
    assert main(["simulate", "--requests", "1"]) == 1
    assert "cannot be written" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "goodput"])
@pytest.mark.parametrize("where", [["--name", "first"], ["--report", "folder"], ["--csv", "runs/a/first.csv"]])
def test_a_report_that_could_not_be_written_is_told_before_any_request_is_sent(
    tmp_path, monkeypatch, capsys, command, where
):
    monkeypatch.chdir(tmp_path)
    Path("runs").write_text("not a folder")
    Path("folder").mkdir()
    nobody = "http://127.0.0.1:1"
    assert main([command, "--url", nobody, *where]) == 1
    told = capsys.readouterr().out
    assert "cannot be written" in told
    assert where[1].partition("/")[0].replace("first", "runs") in told
    assert nobody not in told
