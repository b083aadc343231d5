"""The example Dags as a user gets them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.airflow_db import AIRFLOW

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

EXAMPLES = Path(__file__).resolve().parents[3] / "example_dags"


def test_the_examples_are_written_into_a_new_folder(command: Command, tmp_path: Path) -> None:
    answer = command("examples", str(tmp_path / "dags" / "vambe"))
    assert answer.code == 0
    written = {path.name: path.read_bytes() for path in (tmp_path / "dags" / "vambe").iterdir()}
    newer = set() if AIRFLOW >= (3, 0) else {"order_recovered.py"}
    assert written == {path.name: path.read_bytes() for path in EXAMPLES.glob("*.py") if path.name not in newer}
    assert f"{len(written)} example Dags written to" in answer.out


def test_what_somebody_changed_is_kept_unless_they_say_otherwise(command: Command, tmp_path: Path) -> None:
    command("examples", str(tmp_path))
    mine = tmp_path / "late_orders.py"
    mine.write_text("# mine")
    assert command("examples", str(tmp_path)).code == 2
    refused = command("examples", str(tmp_path))
    assert "late_orders.py" in refused.err
    assert "--force" in refused.err
    assert mine.read_text() == "# mine"
    assert command("examples", str(tmp_path), "--force").code == 0
    assert mine.read_bytes() == (EXAMPLES / "late_orders.py").read_bytes()


def test_a_folder_that_cannot_be_written_is_one_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = command("examples", str(tmp_path / "file" / "below"))
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert len(answer.err.splitlines()) == 1
