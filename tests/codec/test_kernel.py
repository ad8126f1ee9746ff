"""The cache of compiled kernels: a change in any source of the package is a change of every kernel in it."""

import subprocess
import sys

CALLEE = "from codec.kernel import kernel\n\n@kernel\ndef inner(x):\n    return x + {}\n"
CALLER = "from codec.kernel import kernel\nfrom room.callee import inner\n\n@kernel\ndef outer(x):\n    return inner(x)\n"


def test_a_changed_callee_recompiles_its_callers(tmp_path):
    room = tmp_path / "room"
    room.mkdir()
    (room / "__init__.py").touch()
    (room / "caller.py").write_text(CALLER)
    found = []
    for number in (1, 2):
        (room / "callee.py").write_text(CALLEE.format(number))
        command = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from room.caller import outer; print(outer(40))"
        run = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True)
        found.append(int(run.stdout))
    assert found == [41, 42]
