import contextlib
import json

import pytest
import torch
from safetensors.torch import load_file

from align.errors import ConfigError, StageError
from align.models.entry import Weights
from align.models.load import load_policy
from align.models.lora import Lora
from align.text.encode import Encoder
from align.train import reference
from align.train.config import AlignConfig
from align.train.planner import Planner
from align.train.policy import Policy
from align.train.reference import Run, reference_logprobs
from align.train.settings import Dpo

from .conftest import GRADIENT, PAIRS

DPO = Dpo(name="dpo")
TWO = GRADIENT | {"max_steps": 2}


def lines(out):
    return [json.loads(line) for line in (out / "reference.jsonl").read_text().splitlines()]


def test_the_file_says_what_it_was_made_from(run):
    out, _ = run(PAIRS, DPO)
    header, *entries = lines(out)
    assert header["dtype"] == "float32"
    assert len(header["weights"]) == 64
    assert len(entries) == 2 * len(PAIRS)
    assert all(value < 0 for entry in entries for value in entry["logps"])


def test_adapters_can_have_the_file_too(run):
    off, _ = run(PAIRS, DPO, lora=Lora(r=4), args=TWO)
    file, _ = run(PAIRS, DPO, lora=Lora(r=4), args=TWO, reference="file")
    header, *entries = lines(file)
    assert (header["adapters"], len(entries)) == ("off", 2 * len(PAIRS))
    assert not (off / "reference.jsonl").exists()
    one, two = (load_file(out / "model" / "adapter_model.safetensors") for out in (off, file))
    largest = max(float(value.abs().max()) for value in one.values())
    assert all(float((one[name] - two[name]).abs().max()) <= 1e-5 * largest for name in one)


def test_adapters_and_full_fine_tuning_have_the_same_reference(run):
    (_, *whole), (_, *below) = (lines(run(PAIRS, DPO, lora=lora, reference="file")[0]) for lora in (None, Lora(r=4)))
    assert whole == below


def test_adapters_off_needs_adapters(run):
    with pytest.raises(ConfigError, match="adapter_off needs lora"):
        run(PAIRS, DPO, reference="adapter_off")


def test_a_file_of_other_weights_is_refused(run, tiny):
    out, _ = run(PAIRS, DPO)
    trained = out / "model"
    with pytest.raises(StageError, match="other weights"):
        run(PAIRS, DPO, model=trained, out=out)


def test_a_file_of_another_type_is_refused(run):
    out, _ = run(PAIRS, DPO)
    with pytest.raises(StageError, match="other dtype"):
        run(PAIRS, DPO, out=out, args=GRADIENT | {"bf16": True})


def test_a_file_of_other_tokens_is_refused(run):
    out, _ = run(PAIRS, DPO)
    changed = [row.model_copy(update={"chosen": row.chosen + "#"}) for row in PAIRS]
    with pytest.raises(StageError, match="lacks response 0"):
        run(changed, DPO, out=out)


def test_a_file_that_is_there_is_read_and_not_computed_again(run, monkeypatch):
    out, _ = run(PAIRS, DPO)
    monkeypatch.setattr("align.train.reference._compute", lambda *_: pytest.fail("computed again"))
    run(PAIRS, DPO, out=out)


def test_a_share_left_by_a_killed_run_serves_no_other_cut(tiny, tmp_path, monkeypatch):
    """Of two ranks the second alone had written its share; the next start has smaller micro-batches."""
    model, tokenizer = load_policy(Weights(model_name_or_path=str(tiny())), None)
    policy = Policy(model)

    def found(rank, budget, world_size=2):
        planner = Planner(AlignConfig(str(tmp_path), loss=DPO, max_tokens_per_batch=budget), Encoder(tokenizer), None,
                          policy.layout)  # fmt: skip
        where = Run(torch.device("cpu"), contextlib.nullcontext(), "float32", rank, world_size)
        data = planner.training(planner.encode(PAIRS).groups)
        (known,) = reference_logprobs(policy, [data], tmp_path / f"{world_size}.jsonl", where)
        return known

    def kill(path):
        raise KeyboardInterrupt

    for budget in (400, 150):
        monkeypatch.setattr(reference, "_wait", kill)
        with pytest.raises(KeyboardInterrupt):
            found(1, budget)
    monkeypatch.undo()
    together, alone = found(0, 150), found(0, 150, world_size=1)
    assert together.keys() == alone.keys()
    assert all(torch.equal(together[place], alone[place]) for place in alone)


def test_training_goes_as_trls_own_dpo_trainer_does(run, tiny, tmp_path, monkeypatch):
    """Real trl: two SGD steps on the whole batch, so that the second one starts from a policy off its reference."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = PAIRS[:8]
    args = GRADIENT | {"max_steps": 2, "learning_rate": 2.0}
    ours, _ = run(rows, DPO, args=args, global_batch_size=8)
    options = {"report_to": "none", "disable_tqdm": True, "bf16": False, "activation_checkpointing": False}
    settings = trl.DPOConfig(
        output_dir=str(tmp_path / "trl"), beta=0.1, max_length=None, per_device_train_batch_size=8, **options, **args
    )
    table = datasets.Dataset.from_list([row.model_dump(include={"prompt", "chosen", "rejected"}) for row in rows])
    model = AutoModelForCausalLM.from_pretrained(tiny())
    trainer = trl.DPOTrainer(
        model, args=settings, train_dataset=table, processing_class=AutoTokenizer.from_pretrained(tiny())
    )
    trainer.train()
    theirs = dict(trainer.model.state_dict())
    before, after = load_file(tiny() / "model.safetensors"), load_file(ours / "model" / "model.safetensors")
    largest = max(float((after[name] - before[name]).abs().max()) for name in after)
    assert largest > 1e-2
    for name, value in after.items():
        assert torch.allclose(value, theirs[name], atol=1e-5 * largest), name
