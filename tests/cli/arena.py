"""The ``arena`` command as a user meets it, without the cost of a process."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from arena.cli.main import main


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


class Arena:
    """Runs ``arena`` with arguments in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> Ended:
        self._monkeypatch.setattr("sys.argv", ["arena", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = self._capsys.readouterr()
        code = end.value.code
        return Ended(code=code if isinstance(code, int) else 0, out=printed.out, err=printed.err)
