"""The one trainer: transformers.Trainer over a plan of micro-batches, with losses that are exact over any cut.

Every micro-batch's loss is already divided by the counts of its whole optimizer step, so what Trainer and DDP would
average is summed here: by `loss_is_scaled_for_ga` over accumulation, by the factor `world_size` over ranks. Models are
loaded by whoever makes it; recipes come through `run`.
"""

import copy
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from ..errors import ConfigError
from ..models.denormals import flushed
from ..models.entry import Weights
from ..models.load import Model, continued
from ..progress import Bar, progress
from ..text.collate import GroupBatch
from ..text.encode import Encoder
from ..text.token_store import TokenStore
from . import checkpoints
from .best import Selection, check_metric
from .config import AlignConfig
from .data import MicroBatches, Row, length_limit, only_item
from .finite import check_loss, check_norm
from .logbook import Logbook
from .measure import Measure, check_whole, measured
from .meter import Meter
from .objective import Objective, check_start, objective
from .planner import Planner
from .policy import Policy
from .reference import FILE, Run, reference_logprobs, reference_source
from .saving import SavingTrainer
from .settings import figure_names
from .validation import Parts, PartSums, parts

HALF = (torch.float16, torch.bfloat16)


class AlignTrainer(SavingTrainer):
    """Trains a model on rows by one objective; usable outside recipes:

        model = AutoModelForCausalLM.from_pretrained("bigcode/starcoderbase-1b")
        tokenizer = AutoTokenizer.from_pretrained("bigcode/starcoderbase-1b")
        rows = align.io.read("pairs.jsonl", PreferencePair)
        config = AlignConfig("out", loss=Dpo(name="dpo", beta=0.1), global_batch_size=64, num_train_epochs=1)
        trainer = AlignTrainer(model, config, rows, processing_class=tokenizer)
        trainer.train()
        trainer.save_model("out/model")

    In `args.output_dir` it leaves `metrics.jsonl`, `timings.jsonl`, a model's folder for every saved step under
    `checkpoints/`, and `reference.jsonl` where the loss needs one from a file.

    Args:
        model: a causal language model, whole or with peft's adapters; for a loss with a reference without dropout.
        args: what to train for, and how.
        train_dataset: rows of one kind, as the loss needs them; of tasks also a store of their ids.
        eval_dataset: held-out rows of the same kind, for `args.eval_strategy` and `evaluate`.
        processing_class: the model's tokenizer.
        entry: what the model was loaded from, recorded below saved adapters.
        measure: what else is measured of the model at each evaluation of `eval_dataset`.
        label: what the progress bar says.

    Raises:
        DataError: no row is left.
        ConfigError: arguments that do not fit the model, the rows or each other.
        BackendError: the model cannot be served.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: Model,
        args: AlignConfig,
        train_dataset: Sequence[Row] | TokenStore,
        eval_dataset: Sequence[Row] = (),
        *,
        processing_class: PreTrainedTokenizerBase,
        entry: Weights | None = None,
        measure: Measure | None = None,
        label: str = "train",
    ) -> None:
        _check(model, args)
        new_adapters = isinstance(model, PeftModel) and continued(model) is None
        source = reference_source(args.loss, args.reference, adapters=new_adapters)
        self.from_file, self.entry, self.label = source == "file", entry, label
        self.tokenizer = processing_class
        self.policy = Policy(model, adapter_off_reference=source == "adapter_off", backend=args.backend)
        self.planner = Planner(
            args,
            Encoder(processing_class),
            length_limit(self.policy.causal.config, args.max_length),
            self.policy.layout,
        )
        self.encoded = self.planner.encode(train_dataset)
        self.data = self.planner.training(self.encoded.groups)
        self.encoded_eval = self.planner.encode(eval_dataset) if eval_dataset else None
        self.held_out = self.planner.evaluation(self.encoded_eval.groups) if self.encoded_eval else None
        self.parts = parts([eval_dataset[place] for place in self.encoded_eval.rows]) if self.encoded_eval else None
        # the caller's arguments may serve another training
        args, self.keep = copy.copy(args), args.save_total_limit
        args.max_steps, args.gradient_accumulation_steps = len(self.data.plan.steps), self.data.plan.accumulation
        # of models, not of the states that Trainer would remove; it would look for the best one among these, too
        args.save_total_limit = None
        self.selection = Selection.of(args)
        super().__init__(
            self.policy,
            args,
            data_collator=only_item,
            train_dataset=self.data,
            eval_dataset=self.held_out,
            processing_class=processing_class,
        )
        if args.backend == "auto" and self.policy.layout == "plain" and self.is_world_process_zero():
            name = type(self.policy.causal).__name__
            print(f"{label}: {name} is not served by grouped: each response is a padded row", file=sys.stderr)
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.objective: Objective = objective(args.loss)
        self.folder = Path(str(args.output_dir))
        self.measure = measure
        self.meter, self.tokens = Meter(), torch.zeros((), dtype=torch.long, device=args.device)
        self.logbook: Logbook | None = None
        self.warnings: dict[str, str] = {}
        """Name of each alarm that went off → its line; of rank 0."""

    @flushed()
    def train(
        self, resume_from_checkpoint: str | bool | None = None, trial: Any = None, ignore_keys_for_eval: Any = None
    ) -> Any:
        """Train to the end of the plan.

        Args:
            resume_from_checkpoint: True: go on from the last state in the folder, if any, else start; a run that was
                interrupted ends with the same weights. Or a state's folder.
            trial: as in Trainer.
            ignore_keys_for_eval: as in Trainer.
        """
        self._prepare_evaluation()
        self._add_reference()
        found = self.last_state() if resume_from_checkpoint is True else None
        state = str(found) if found else resume_from_checkpoint if isinstance(resume_from_checkpoint, str) else None
        done = checkpoints.step_of(Path(state)) if state else 0
        # what an evaluation found before the first step is in the metrics of an interrupted run
        self.args.eval_on_start = self.args.eval_on_start and not done
        with progress(self.label, len(self.data.plan.steps)) as bar:
            bar.skip(done)
            shown = _Advance(bar)
            self.add_callback(shown)
            if self.is_world_process_zero():
                checkpoints.remove_torn(self.folder / checkpoints.STATES)
                self.logbook = Logbook(self.folder, done)
            try:
                output = super().train(resume_from_checkpoint=state)
                self.take_best()
                return output
            finally:
                self.remove_callback(shown)
                if self.logbook is not None:
                    self.warnings = self.logbook.alarms.raised
                    self.logbook.close()
                    self.logbook = None

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[GroupBatch], Any]:
        """The micro-batches of an optimizer step, with the step's KL estimate where the loss needs one."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.data.mismatched:
            kl = self._kl(batches)
            batches = [batch | {"kl": kl} for batch in batches]
        return batches, items

    def compute_loss(
        self, model: nn.Module, inputs: GroupBatch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """The micro-batch's share of the step's loss, times the ranks that DDP will divide by."""
        output = model(inputs)
        step = self.objective(output, inputs)
        check_loss(step.loss, output, inputs, self.data.groups, self.state.global_step + 1)
        if self.args.loss is not None and self.state.global_step == 0:
            check_start(self.args.loss, step)
        self.meter.add(step, share=1 / (self.args.gradient_accumulation_steps * self.args.world_size))
        self.tokens += inputs["attention_mask"].sum() if "attention_mask" in inputs else inputs["input_ids"].numel()
        share: Tensor = step.loss * self.args.world_size
        return share

    @flushed()
    def evaluate(  # type: ignore[override]
        self,
        eval_dataset: Sequence[Row] | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Means over the whole of the held-out rows, whatever the micro-batches and ranks.

        Args:
            eval_dataset: other rows than those the trainer has.
            ignore_keys: as in Trainer; nothing to ignore.
            metric_key_prefix: what the names of the metrics start with.

        Raises:
            ConfigError: there are no held-out rows.
        """
        data, found = self.held_out, self.parts
        if eval_dataset is not None:
            encoded = self.planner.encode(eval_dataset)
            data = self.planner.evaluation(encoded.groups)
            found = parts([eval_dataset[place] for place in encoded.rows])
        if data is None:
            raise ConfigError("eval_dataset: there are no held-out rows to evaluate on")
        if self.from_file and data.reference is None:
            raise ConfigError("eval_dataset: its reference is not in the file: give these rows to the trainer itself")
        figures = self._measured(data, found)
        if self.measure is not None and eval_dataset is None:
            figures |= measured(self.measure, self.policy.causal, self.tokenizer, self.accelerator, self.folder)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write our own figures; what Trainer measures of time goes to `timings.jsonl`."""
        if "learning_rate" in logs:
            tokens = int(self.accelerator.reduce(self.tokens, reduction="sum"))
            self.tokens.zero_()
            figures = self.meter.read(self.accelerator)
            figures |= {name: logs[name] for name in ("grad_norm", "learning_rate") if name in logs}
        elif "train_runtime" in logs:
            return
        else:
            tokens, figures = None, logs
        if self.logbook is not None:
            self.logbook.write(self.state.global_step, figures, tokens)
        super().log(figures)

    def _add_reference(self) -> None:
        """The starting weights' log-probabilities, once, where they come from the file."""
        if not self.from_file or self.data.reference is not None:
            return
        precision = self.accelerator.mixed_precision
        run = Run(
            device=self.args.device,
            autocast=self.accelerator.autocast(),
            dtype="float32" if precision == "no" else precision,
            rank=self.args.process_index,
            world_size=self.args.world_size,
        )
        sets = [data for data in (self.data, self.held_out) if data is not None]
        self.folder.mkdir(parents=True, exist_ok=True)
        for data, found in zip(sets, reference_logprobs(self.policy, sets, self.folder / FILE, run), strict=True):
            data.reference = found

    def _prepare_evaluation(self) -> None:
        """Find what an evaluation cannot give before anything is trained."""
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        names = {*figure_names(self.args.loss), *(self.parts.figures if self.parts else ())}
        if self.measure is not None:
            check_whole(sharded=sharded, what="eval_generate")
            names |= set(self.measure.prepare(self.tokenizer, length_limit(self.policy.causal.config, None)))
        if self.selection is not None:
            check_whole(sharded=sharded, what="args.load_best_model_at_end")
        # a schedule of the learning rate may follow it, too
        if self.held_out is not None and self.args.metric_for_best_model is not None:
            check_metric(self.args.metric_for_best_model, names)

    @torch.no_grad()
    def _measured(self, data: MicroBatches, found: Parts | None) -> dict[str, float]:
        """Means of the objective's figures over a data set of one step, and the losses of its parts."""
        meter, model = Meter(), self.model_wrapped
        sums = PartSums(found, self.args.device) if found else None
        was_training = model.training
        model.eval()
        kl = {"kl": self._kl(self._own(data))} if data.mismatched else {}
        for batch in self._own(data):
            inputs = self._prepare_inputs(batch) | kl
            with self.accelerator.autocast():
                output = model(inputs)
                step = self.objective(output, inputs)
            meter.add(step, share=1 / len(data))
            if sums is not None:
                sums.add(output, inputs)
        model.train(was_training)
        return meter.read(self.accelerator) | (sums.read(self.accelerator) if sums is not None else {})

    def _own(self, data: MicroBatches) -> Iterable[GroupBatch]:
        """This rank's share of a data set, of equal number on every rank."""
        return (data[item] for item in range(self.args.process_index, len(data), self.args.world_size))

    @torch.no_grad()
    def _kl(self, batches: Iterable[GroupBatch]) -> Tensor:
        """() KTO's estimate over a whole step: the mean log-ratio of mismatched rows over all ranks, clipped at 0."""
        total = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        for batch in batches:
            rows = self._prepare_inputs(batch["mismatched"])
            with self.accelerator.autocast():
                output = self.model_wrapped(rows)
            reference_N = rows["reference_N"] if output.reference_N is None else output.reference_N
            count = len(rows["index_G"])
            # a filling micro-batch runs the model, as every rank must, and says nothing
            ratio = (output.logp.token - reference_N).double().sum() * (count > 0)
            total += torch.stack([ratio, total.new_tensor(float(count))])
        whole: Tensor = self.accelerator.reduce(total, reduction="sum")
        return (whole[0] / whole[1].clamp(min=1)).clamp(min=0).float()

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        # the scaler of fp16 finds its scale by steps that overflow, and skips them
        if self.accelerator.scaler is None:
            step = self.state.global_step
            check_norm(norm, self.data.groups, self.data.plan.steps[step], step + 1)
        return norm

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return SequentialSampler(self.data)


def _check(model: Model, args: AlignConfig) -> None:
    if args.n_gpu > 1:
        raise ConfigError(f"{args.n_gpu} GPUs and no launcher: start it with accelerate launch")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.dtype in HALF:
            found = str(parameter.dtype).removeprefix("torch.")
            raise ConfigError(
                f"{name} would be trained in {found}, whose steps are larger than most updates: load it in float32, "
                "and write bf16: true for its speed"
            )


class _Advance(TrainerCallback):
    """Moves the progress bar."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.bar.advance()
