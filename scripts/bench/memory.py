"""Memory of training steps: what `align plan` says beside what the trainer takes.

    python scripts/bench/memory.py [--quick] [--json FILE] [--only TEXT]

Random models are trained for three steps by `AlignTrainer`, each in a process of its own. On a CPU the peak is that of
torch's allocator, by the profiler's record of every block that it gives and takes back: those inside of operations are
seen too, and neither libraries nor pages that the system has not taken back. On a GPU it is `max_memory_allocated`;
that part has not been run yet. Strategies over several devices are not measured.
"""

import argparse
import dataclasses
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import set_seed

from align.errors import AlignError
from align.io import write_json
from align.models.entry import Weights
from align.models.load import load_policy
from align.models.lora import TARGETS, Lora
from align.models.shapes import of_config
from align.models.tiny import Architecture, random_model, save_tiny, train_tokenizer
from align.recipe.activations import Rows, Training
from align.recipe.memory import Memory, memory, state_bytes
from align.schema import PreferencePair, RankedGroup, SftRow
from align.train.options import Options
from align.train.run import arguments
from align.train.settings import Dpo, Rrtf
from align.train.trainer import AlignTrainer

TOLERANCE = 0.15
STEPS, RANK, POSITIONS, SEED = 3, 16, 2048, 1
RESPONSES = {"sft": 1, "dpo": 2, "rrtf": 4}
MISTAKE = 2


@dataclass(frozen=True)
class Case:
    """One training."""

    architecture: Architecture
    loss: Literal["sft", "dpo", "rrtf"] = "sft"
    whole: bool = False
    """Whether every weight is trained; otherwise adapters."""
    checkpointing: bool = False
    backend: Literal["grouped", "plain"] = "grouped"
    groups: int = 2
    """Prompts of a micro-batch."""
    accumulation: int = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    half: bool = False
    """With bf16."""
    bits: Literal[0, 4, 8] = 0
    hidden: int = 256
    layers: int = 6
    heads: int = 8
    vocab: int = 8192
    prompt: int = 120
    response: int = 60
    optim: str = "adamw_torch"

    @property
    def name(self) -> str:
        """For the table and `--only`."""
        trained = "whole" if self.whole else f"lora {self.bits} bits" if self.bits else "lora"
        parts = [self.architecture, self.loss, trained, self.backend, f"h{self.hidden} V{self.vocab}"]
        parts += [f"{self.groups} × {self.accumulation} prompts"]
        parts += (
            ["checkpointing"] * self.checkpointing + ["bf16"] * self.half + [self.dtype] * (self.dtype != "float32")
        )
        return ", ".join(parts)


@dataclass
class Row:
    """What was planned and measured; the fields are those of the JSON. Bytes."""

    case: str
    planned: float
    measured: int
    ratio: float
    parts: dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """The whole bench; returns the exit code: 1 if a ratio is beyond 15 %, 2 for a mistake, otherwise 0."""
    options = parser().parse_args(argv)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cases = [case for case in (quick() if options.quick else every()) if options.only in case.name]
    print(f"{device}, torch {torch.__version__}: planned / measured MiB", flush=True)
    rows = []
    try:
        for case in cases:
            rows.append(apart(case))
            row = rows[-1]
            mark = "" if abs(row.ratio - 1) <= TOLERANCE else "  beyond 15 %"
            sizes = f"{row.planned / 2**20:8.1f} / {row.measured / 2**20:8.1f}"
            print(f"{sizes}  {row.ratio:.3f}  {row.case}{mark}", flush=True)
    except AlignError as error:
        print(f"memory: {error}", file=sys.stderr)
        return MISTAKE
    if not rows:
        print(f"memory: no case holds {options.only!r}", file=sys.stderr)
        return MISTAKE
    ratios = [row.ratio for row in rows]
    print(f"{len(rows)} cases, ratios from {min(ratios):.3f} to {max(ratios):.3f}")
    if options.json:
        write_json(options.json, [dataclasses.asdict(row) for row in rows])
    return 0 if all(abs(ratio - 1) <= TOLERANCE for ratio in ratios) else 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="memory", description="Memory of training steps, planned and measured.")
    found.add_argument("--quick", action="store_true", help="three cases")
    found.add_argument("--only", default="", metavar="TEXT", help="cases whose name holds it, such as 'bloom, dpo'")
    found.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return found


def quick() -> Iterator[Case]:
    """A few that differ in what weighs most."""
    yield Case("bloom", "dpo")
    yield Case("gpt_bigcode", "sft", whole=True)
    yield Case("starcoder2", "rrtf", checkpointing=True)


def every() -> Iterator[Case]:
    """All of them."""
    for architecture in ("bloom", "gpt_bigcode", "starcoder2"):
        for loss in ("sft", "dpo", "rrtf"):
            yield Case(architecture, loss)
            if loss != "sft":
                yield Case(architecture, loss, backend="plain")
        yield Case(architecture, "rrtf", groups=6, checkpointing=True)
        yield Case(architecture, "dpo", groups=8, accumulation=2)
        yield Case(architecture, "sft", whole=True)
        yield Case(architecture, "rrtf", whole=True, groups=4, accumulation=2)
        yield Case(architecture, "rrtf", whole=True, groups=4, checkpointing=True)
        yield Case(architecture, "dpo", half=True, dtype="bfloat16")
        yield Case(architecture, "sft", half=True, whole=True)
        yield Case(architecture, "rrtf", half=True, dtype="bfloat16", bits=4)
        yield Case(architecture, "dpo", bits=8)
        yield Case(architecture, "rrtf", hidden=512, layers=8, vocab=32_000)
        yield Case(architecture, "sft", whole=True, hidden=512, layers=8, vocab=32_000, groups=8)
    yield Case("gpt_bigcode", "sft", half=True)
    yield Case("gpt_bigcode", "sft", half=True, whole=True, checkpointing=True)
    yield Case("starcoder2", "sft", whole=True, optim="sgd")


def apart(case: Case) -> Row:
    """One case in a process of its own: a second session of the profiler loses blocks of the first."""
    # a GPU's context does not outlive a fork
    context = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "fork")
    with context.Pool(1) as pool:
        planned, measured = pool.apply(run, (case,))
    parts = dataclasses.asdict(planned)
    return Row(case.name, planned.total, measured, planned.total / measured, parts)


def run(case: Case) -> tuple[Memory, int]:
    """The plan of a case, and its peak in bytes."""
    cuda = torch.cuda.is_available()
    if not cuda:
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        trainer = made(case, Path(name))
        peak = on_gpu(trainer) if cuda else on_cpu(trainer)
        assert trainer.data.plan.accumulation == case.accumulation
        return memory(training(case, trainer, "cuda" if cuda else "cpu")), peak


def made(case: Case, folder: Path) -> AlignTrainer:
    """A trainer whose micro-batches are all full, and of rows of one length."""
    model = random_model(
        case.architecture,
        hidden_size=case.hidden,
        num_layers=case.layers,
        num_heads=case.heads,
        vocab_size=case.vocab,
        max_position=POSITIONS,
        seed=SEED,
    )
    # without merges a letter is a token
    save_tiny(model, train_tokenizer(["a"], 258), folder / "model")
    del model
    k, count = RESPONSES[case.loss], case.groups * case.accumulation
    laid = laid_out(case).tokens + k * case.groups
    bits = {"load_in_4bit": case.bits == 4, "load_in_8bit": case.bits == 8}
    entry = Weights(model_name_or_path=str(folder / "model"), dtype=case.dtype, **bits)
    args = {"max_steps": STEPS, "save_strategy": "no", "bf16": case.half, "optim": case.optim}
    args |= {"use_cpu": not torch.cuda.is_available()}
    options = Options(
        loss={"sft": None, "dpo": Dpo(name="dpo"), "rrtf": Rrtf(name="rrtf")}[case.loss],
        lora=None if case.whole else Lora(r=RANK),
        global_batch_size=count,
        max_tokens_per_batch=laid,
        backend=case.backend,
        args=args | ({"activation_checkpointing": True} if case.checkpointing else {}),
    )
    set_seed(SEED)
    policy, tokenizer = load_policy(entry, options.lora)
    rows: Any = [row_of(case, number) for number in range(count)]
    return AlignTrainer(policy, arguments(options, folder / "out"), rows, processing_class=tokenizer, entry=entry)


def row_of(case: Case, number: int) -> SftRow | PreferencePair | RankedGroup:
    """A row whose texts are of the case's lengths; the end of a response is the trainer's."""
    k, prompt, size = RESPONSES[case.loss], letters(case.prompt, number), case.response - 1
    answers = [letters(size, 31 * number + 7 * index + 1) for index in range(k)]
    if case.loss == "sft":
        return SftRow(prompt=prompt, completion=answers[0])
    if case.loss == "dpo":
        return PreferencePair(problem_id=str(number), prompt=prompt, chosen=answers[0], rejected=answers[1])
    scores = [1 - index / k for index in range(k)]
    named: dict[str, Any] = {"roles": ["student"] * k, "models": ["m"] * k}
    return RankedGroup(problem_id=str(number), prompt=prompt, responses=answers, scores=scores, **named)


def letters(count: int, start: int) -> str:
    """A text of so many letters."""
    return "".join(chr(ord("a") + (start + 7 * place) % 26) for place in range(count))


def laid_out(case: Case) -> Rows:
    """The case's micro-batch."""
    k = RESPONSES[case.loss]
    if case.backend == "plain":
        return Rows.padded(case.groups * k, case.prompt, case.response)
    return Rows.packed(case.groups, case.prompt, case.response, k)


def training(case: Case, trainer: AlignTrainer, device: Literal["cpu", "cuda"]) -> Training:
    """What `align plan` would know of the case."""
    shape = of_config(trainer.policy.causal.config.to_dict())
    assert shape is not None
    return Training(
        shape,
        laid_out(case),
        0 if case.whole else RANK,
        TARGETS[case.architecture],
        4 if case.dtype == "float32" else 2,
        case.bits,
        half=case.half,
        checkpointing=case.checkpointing,
        state=state_bytes(case.optim),
        accumulated=case.accumulation > 1,
        device=device,
    )


def on_cpu(trainer: AlignTrainer) -> int:
    """Peak of the blocks that were there before, and of those that the allocator gave meanwhile."""
    model = trainer.policy
    blocks = {value.untyped_storage().data_ptr(): value.untyped_storage() for value in kept(model)}
    before = sum(storage.nbytes() for storage in blocks.values())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        trainer.train()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    total = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        total += event.nbytes()
        peak = max(peak, total)
    return int(before + peak)


def kept(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Everything that a model holds; scales of quantised weights are no parameters of it."""
    yield from model.parameters()
    yield from model.buffers()
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            yield state.absmax
            if state.nested:
                yield state.state2.absmax


def on_gpu(trainer: AlignTrainer) -> int:
    """Peak of what PyTorch's allocator has handed out."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    trainer.train()
    return torch.cuda.max_memory_allocated()


if __name__ == "__main__":
    sys.exit(main())
