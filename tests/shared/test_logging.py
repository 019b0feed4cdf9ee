"""What is logged must never stop what is done."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging, structlog
from shared import logging as ours
ours.configure("it")
structlog.get_logger().error("one", detail="é")
logging.getLogger("library").warning("two")
print("alive")
"""


def test_a_line_is_a_json_object_on_stderr() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [(line["event"], line["service"]) for line in lines] == [("one", "it"), ("library", "it")]


def test_where_no_line_can_be_written_the_program_goes_on() -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=full, check=True)
    assert ran.stdout == b"alive\n"


def test_where_nobody_reads_the_lines_the_program_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stderr is not None
        program.stderr.close()
        assert program.communicate()[0] == b"alive\n"
        assert program.returncode == 0
