from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tracequill.errors import CommandError, UsageError
from tracequill_phoenix.dataset_export.write import Document, OutputFile, StandardOutput


def test_a_file_is_not_seen_before_it_is_committed(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    with OutputFile(path) as file:
        file.write(b"one\n")
        assert not path.exists()
        file.commit()

        assert path.read_bytes() == b"one\n"
        assert file.size_bytes == 4
        assert file.sha256() == hashlib.sha256(b"one\n").hexdigest()
    assert [entry.name for entry in tmp_path.iterdir()] == ["train.jsonl"]


def test_what_is_not_committed_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), OutputFile(path) as file:
        file.write(b"new")
        raise RuntimeError

    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["train.jsonl"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_bytes(b"old")
    link.symlink_to(path)
    with OutputFile(link) as file:
        file.write(b"new")
        file.commit()

    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_a_device_is_never_replaced() -> None:
    with pytest.raises(UsageError, match="no ordinary file"):
        OutputFile(Path("/dev/null"))


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot be written: No such file or directory\."):
        OutputFile(tmp_path / "missing" / "train.jsonl")


def test_a_full_disk_is_one_sentence_and_leaves_the_device() -> None:
    with pytest.raises(CommandError, match="No space left on device"):
        file = OutputFile.__new__(OutputFile)
        file._path = Path("/dev/full")
        file._file = Path("/dev/full").open("wb", buffering=0)
        with file._file:
            file._append(b"x")


def test_standard_output_gets_all_at_the_commit(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with StandardOutput() as file:
        file.write(b"one\n")
        assert capsysbinary.readouterr().out == b""
        file.commit()

    assert capsysbinary.readouterr().out == b"one\n"


@pytest.mark.parametrize("items", [[], ["a"], ["a", {"b": 'quote " and \n line'}]])
@pytest.mark.parametrize("head", [{}, {"name": "x", "n": 1}])
def test_a_document_is_one_json_object_with_its_list(
    items: list[object], head: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "manifest.json"
    with Document("span_ids") as document:
        for item in items:
            document.add(item)
        document.save(path, head)

    assert json.loads(path.read_text()) == {**head, "span_ids": items}
