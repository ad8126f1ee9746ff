"""The footprint's benchmark: what is installed for it is what is locked."""

from __future__ import annotations

from benchmarks import footprint
from benchmarks.footprint import LOCKS, NUMBA, locked


def test_requirements_keep_their_versions_markers_and_hashes():
    lock = "llvmlite==1 \\\n    --hash=sha256:a\nnumba==2 ; python_version >= '3.12' \\\n    --hash=sha256:b\nnumbasique==3\nnumpy==4\n"
    assert locked(lock, NUMBA) == "".join(lock.partition("numbasique")[0])


def test_the_lock_has_numba_and_the_vehicles_has_not():
    assert all(f"{name}==" in locked((LOCKS / "dev.lock").read_text(), NUMBA) for name in NUMBA)
    assert locked((LOCKS / "agent.lock").read_text(), NUMBA) == ""


def test_files_are_counted_once(tmp_path):
    package = tmp_path / "lib" / "python3.11" / "site-packages" / "one"
    package.mkdir(parents=True)
    (package / "a.py").write_bytes(b"x" * 10)
    (package / "b.so").write_bytes(b"x" * 200)
    assert footprint.installed_bytes(tmp_path / "bin" / "python") == 210


def test_without_a_wheel_it_says_how_to_make_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(footprint, "ROOT", tmp_path)
    assert footprint.main([]) == 2
    assert "make wheel" in capsys.readouterr().err
