"""recipes/accelerate and recipes/slurm: what is shipped for launchers is read by them, and runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from align.io import write
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.schema import SftRow

REPO = Path(__file__).parents[2]
FILES = sorted((REPO / "recipes" / "accelerate").glob("*.yaml"))
SCRIPTS = sorted((REPO / "recipes" / "slurm").glob("*.sbatch"))
RECIPE = """
models:
  base: {model_name_or_path: ../model}
stages:
  sft:
    model: base
    data: ../rows.jsonl
    global_batch_size: 8
    args: {max_steps: 4, logging_steps: 1, save_steps: 2, use_cpu: true}
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
echo $$ > "$FAKE/srun.pid"
for ((node = 0; node < SLURM_NNODES; node++)); do
    SLURM_NODEID=$node "$@" &
    echo $! >> "$FAKE/tasks"
done
code=0
for task in $(cat "$FAKE/tasks"); do
    wait -n
    code=$?
    if [ $code -ne 0 ]; then kill -KILL $(cat "$FAKE/tasks") 2>/dev/null; break; fi
done
exit $code
"""
SCONTROL = """#!/bin/bash
echo "$@" >> "$FAKE/scontrol"
if [ "$1" = show ]; then printf '127.0.0.1\\n127.0.0.2\\n'; fi
"""
SCANCEL = """#!/bin/bash
echo "$@" >> "$FAKE/scancel"
kill -TERM $(cat "$FAKE/tasks")
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_reads_every_configuration(path):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    config = load_config_from_file(str(path))
    assert config.num_machines == 1
    options = ["--config_file", str(path), "--num_processes", "2", "-m", "align"]
    if path.stem == "single":
        options[3] = "1"
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(options))
    kinds = {"ddp": "multi_gpu", "fsdp2": "use_fsdp", "zero2": "use_deepspeed", "zero3": "use_deepspeed"}
    assert [name for name in ("multi_gpu", "use_fsdp", "use_deepspeed") if getattr(arguments, name)] == (
        [kinds[path.stem]] if path.stem in kinds else []
    )
    if path.stem.startswith("zero"):
        assert arguments.zero_stage == int(path.stem[-1])
    if path.stem == "fsdp2":
        assert arguments.fsdp_version == 2
    assert path.name in (path.parent / "README.md").read_text()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_bash_reads_every_script(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert path.name in (path.parent / "README.md").read_text()


@pytest.fixture
def cluster(tmp_path):
    """A project, and a function that starts a script in it as Slurm would."""
    tokenizer = train_tokenizer(["def f():\n    return 1\n"] * 20, 280)
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "max_position": 64}
    save_tiny(random_model("gpt_bigcode", vocab_size=len(tokenizer), seed=0, **shape), tokenizer, tmp_path / "model")
    write(tmp_path / "rows.jsonl", [SftRow(prompt=f"add {n}\n", completion=f"x + {n}\n") for n in range(16)])
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "r.yaml").write_text(RECIPE)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("scancel", SCANCEL)):
        (bin_ / name).write_text(text)
        (bin_ / name).chmod(0o755)
    for name, module in (("align", "align"), ("accelerate", "accelerate.commands.accelerate_cli")):
        (bin_ / name).write_text(f'#!/bin/bash\nexec {sys.executable} -m {module} "$@"\n')
        (bin_ / name).chmod(0o755)

    def start(script, *arguments, **environment):
        given = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": str(os.getpid()), "FAKE": str(tmp_path)}
        given |= {"PATH": f"{bin_}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        given |= {"PYTHONPATH": f"{REPO}:{os.environ.get('PYTHONPATH', '')}"}
        command = ["bash", str(REPO / "recipes" / "slurm" / script), "recipes/r.yaml", *arguments]
        process_env = {**os.environ, **given, **environment}
        return subprocess.Popen(command, env=process_env, stderr=subprocess.PIPE, text=True, cwd="/")

    return start


@pytest.mark.slow
def test_two_nodes_train_together(cluster, tmp_path):
    names = {"SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "1", "SLURM_JOB_NODELIST": "n[1-2]"}
    config = str(REPO / "recipes" / "accelerate" / "ddp.yaml")
    process = cluster("nodes.sbatch", **names, CONFIG=config, ACCELERATE_USE_CPU="1")
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    marker = tmp_path / "runs" / "r" / "sft" / "stage.json"
    assert '"processes": 2' in marker.read_text()
    assert "show hostnames n[1-2]" in (tmp_path / "scontrol").read_text()


@pytest.mark.slow
def test_a_job_whose_node_is_taken_back_saves_and_is_queued_again(cluster, tmp_path):
    longer = ("stages.sft.args.max_steps=2000", "stages.sft.args.save_steps=1999")
    process = cluster("requeue.sbatch", *longer, SLURM_NNODES="1")
    began = time.monotonic()
    while not any(path.stat().st_size for path in tmp_path.glob("runs/r/sft-*/metrics.jsonl")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() - began < 240
        time.sleep(0.1)
    process.send_signal(signal.SIGUSR1)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 143, told
    assert "ended by SIGTERM after step" in told
    assert (tmp_path / "scancel").read_text() == f"--signal=TERM {os.getpid()}.0\n"
    assert (tmp_path / "scontrol").read_text() == f"requeue {os.getpid()}\n"
    assert list(tmp_path.glob("runs/r/sft-*/.resume/checkpoint-*/complete"))


@pytest.mark.slow
def test_a_job_that_ends_by_itself_is_not_queued_again(cluster, tmp_path):
    process = cluster("requeue.sbatch", SLURM_NNODES="1")
    _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told
    assert not (tmp_path / "scontrol").exists()
