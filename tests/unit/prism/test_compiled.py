import os

from services.prism.compiled import _place


def test_what_was_compiled_is_kept_where_it_can_be_written_to_and_that_of_other_sources_is_not(tmp_path):
    (tmp_path / "compiled-other").mkdir()
    place = _place(tmp_path)
    assert [child.name for child in tmp_path.iterdir()] == [place.name]
    (place / "function.nbi").touch()
    assert _place(tmp_path) == place
    assert (place / "function.nbi").exists()


def test_what_was_compiled_in_a_read_only_place_is_copied_to_where_numba_reads_it(tmp_path, monkeypatch):
    place, copy = _place(tmp_path), tmp_path / "copy"
    (place / "function.nbi").write_bytes(b"code")
    copy.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert _place(tmp_path, lambda: str(copy)) == copy
    assert (copy / "function.nbi").read_bytes() == b"code"


def test_where_nothing_can_be_kept_it_is_compiled_at_each_start(tmp_path):
    (tmp_path / "file").touch()
    assert not _place(tmp_path / "file").exists()
