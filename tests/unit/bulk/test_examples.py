"""The examples of jobs are what their schedulers read, and call the command as it is."""

import re
import shlex
import subprocess
from pathlib import Path

import yaml

from polymodal.cli.main import _parser

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_script_of_slurm_is_bash():
    script = EXAMPLES / "fill.slurm"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    options = re.findall(r"^#SBATCH --([a-z-]+)", script.read_text(), re.MULTILINE)
    assert {"array", "requeue", "signal"} <= {*options}
    assert_parses(script.read_text().split("srun ")[1].replace("\\\n", " "))


def test_the_job_of_kubernetes_is_whole():
    job = yaml.safe_load((EXAMPLES / "fill-job.yaml").read_text())
    assert (job["kind"], job["spec"]["completionMode"]) == ("Job", "Indexed")
    pod = job["spec"]["template"]["spec"]
    (command,) = pod["containers"][0]["args"]
    assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0
    assert f"/{job['spec']['completions']}" in command
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    assert_parses(command.removeprefix("exec "))


def assert_parses(command: str) -> None:
    """Whether the command is one, whatever its variables are."""
    words = shlex.split(re.sub(r"\$\(\(.*?\)\)|\$\{[A-Z_]+\}", "2", command))[1:]
    assert _parser(words).parse_args(words).shard[0] == 2
