import json

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from align.errors import DataError
from align.models.bloom import fuse
from align.models.tiny import random_model, train_tokenizer
from align.score.choice import Chooser
from align.score.classify import Choice, accuracies
from align.score.shots import with_shots
from align.text.encode import Encoder

TEXTS = ["Then the man opened the tap. What happened? Water flowed from the spout.", "他打开水龙头。水流出来。"] * 4


def row(number, prompt, options, answer=0, **fields):
    known = {"task": "tap", "language": "en", "template": "plain", "split": "test"} | fields
    return Choice(id=str(number), prompt=prompt, options=options, answer=answer, **known)


ROWS = [
    row(0, "The man opened the tap. Then", [" water flowed", " he", " the man opened the tap and the tap"]),
    row(1, "What happened?", [" Water", " Water flowed from the spout."], 1),
    row(2, "", ["Water", "The man"]),
    row(3, "他打开水龙头。", ["水流出来。", "厕所里满是水。"], language="zh"),
    row(4, "Then the man opened the tap. " * 8, ["Water", "a", "b", "c", "The spout opened"]),
]


def model_of(architecture, seed=3, positions=1024):
    tokenizer = train_tokenizer(TEXTS, 320)
    model = random_model(
        architecture,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        vocab_size=len(tokenizer),
        max_position=positions,
        seed=seed,
    )
    with torch.no_grad():
        # random weights say nearly the same of everything
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    if architecture == "bloom":
        fuse(model)
    return model.eval(), tokenizer


@pytest.fixture(scope="module", params=["bloom", "gpt_bigcode", "starcoder2"])
def known(request):
    return model_of(request.param)


@torch.no_grad()
def alone(model, tokenizer, given, *, end=False):
    """Log-probabilities of each option by a softmax over one row of its own."""
    encoder, found = Encoder(tokenizer), []
    for option in given.options:
        prompt = encoder.prompt(given.prompt) or [tokenizer.eos_token_id]
        ids = encoder.response(option) if end else encoder.response(option)[:-1]
        logits = model(torch.tensor([prompt + ids])).logits[0].double().log_softmax(-1)
        found.append(sum(logits[len(prompt) - 1 + place, token].item() for place, token in enumerate(ids)))
    return found


@pytest.mark.parametrize("end", [False, True])
def test_log_probabilities_are_those_of_each_option_alone(known, end):
    expected = [alone(*known, given, end=end) for given in ROWS]
    chosen = Chooser(known[0], Encoder(known[1]), end=end).choose(ROWS)
    for found, wanted in zip(chosen, expected, strict=True):
        assert found.logprobs == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("backend", ["auto", "plain"])
def test_batches_and_padding_change_nothing(known, backend):
    encoder = Encoder(known[1])
    single = [Chooser(known[0], encoder, backend="plain").choose([given])[0] for given in ROWS]
    for max_tokens in (1, 60, 10_000):
        chosen = Chooser(known[0], encoder, max_tokens=max_tokens, backend=backend).choose(ROWS)
        for found, wanted in zip(chosen, single, strict=True):
            assert found.logprobs == pytest.approx(wanted.logprobs, abs=2e-5)
            assert found.model_copy(update={"logprobs": []}) == wanted.model_copy(update={"logprobs": []})


def test_a_prompt_stands_once_for_all_its_options():
    model, tokenizer = model_of("bloom")
    seen = []
    model.base_model.word_embeddings.register_forward_pre_hook(lambda _, args: seen.append(args[0].numel()))
    encoder = Encoder(tokenizer)
    Chooser(model, encoder).choose([ROWS[4]])
    options = [len(encoder.response(option)) - 2 for option in ROWS[4].options]
    assert seen == [len(encoder.prompt(ROWS[4].prompt)) + sum(options)]


def test_equal_options_tie_and_share_the_credit(known):
    given = row(9, "Then", [" water", " water"], 1)
    (chosen,) = Chooser(known[0], Encoder(known[1])).choose([given])
    assert chosen.best() == [0, 1]
    assert chosen.credit() == 0.5


def test_options_of_several_tokens_are_normalised_by_their_own_lengths(known):
    chosen = Chooser(known[0], Encoder(known[1])).choose(ROWS[:1])[0]
    encoder = Encoder(known[1])
    tokens = [len(encoder.response(option)) - 1 for option in ROWS[0].options]
    assert chosen.tokens == tokens
    assert len(set(tokens)) > 1
    assert chosen.characters == [12, 2, 30 + 4]
    assert chosen.scores("token") == [value / count for value, count in zip(chosen.logprobs, tokens, strict=True)]


def test_a_bos_opens_the_prompt_where_the_tokenizer_puts_one():
    model, tokenizer = model_of("starcoder2")
    plain = Chooser(model, Encoder(tokenizer)).choose(ROWS[:1])[0]
    template = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", tokenizer.eos_token_id)])
    tokenizer.backend_tokenizer.post_processor = template
    tokenizer.bos_token = "<eos>"
    assert Chooser(model, Encoder(tokenizer)).choose(ROWS[:1])[0].logprobs != plain.logprobs


def test_a_row_longer_than_the_positions_is_named():
    model, tokenizer = model_of("gpt_bigcode", positions=16)
    with pytest.raises(DataError, match=r"tap: example 4 takes \d+ tokens, the model has 16 positions"):
        Chooser(model, Encoder(tokenizer)).choose(ROWS[4:])


def test_a_model_that_gives_no_number_is_named():
    model, tokenizer = model_of("starcoder2")
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(DataError, match=r"example 0.*weights overflow"):
        Chooser(model, Encoder(tokenizer)).choose(ROWS[:1])


def test_odd_text_is_scored(known):
    odd = [row(0, "\x00 \ufeff‮", [" \x00", " é́", " " + "水" * 40])]
    assert all(value < 0 for value in Chooser(known[0], Encoder(known[1])).choose(odd)[0].logprobs)


def test_a_model_trained_on_an_answer_chooses_it_wherever_it_stands():
    model, tokenizer = model_of("bloom")
    encoder = Encoder(tokenizer)
    options = [" water flowed", " he opened"]
    rows = [row(n, f"The tap {n}. Then", options[:: 1 - n % 2 * 2]) for n in range(10)]
    if Chooser(model, encoder).choose(rows[:1])[0].best() == [0]:
        options.reverse()
    rows = [row(n, f"The tap {n}. Then", options[:: 1 - n % 2 * 2], n % 2) for n in range(10)]
    before = accuracies(Chooser(model, encoder).choose(rows))["tap"]["sum"]["best"]["accuracy"]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    ids = torch.tensor([encoder.prompt(r.prompt) + encoder.response(r.options[r.answer])[:-1] for r in rows])
    for _ in range(100):
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = accuracies(Chooser(model, encoder).choose(rows))["tap"]["sum"]["best"]["accuracy"]
    assert before <= 50
    assert after == 100


def story(number, split="test"):
    """A row of XStoryCloze's form: four sentences, two endings."""
    four = " ".join(f"Sentence {place} of story {number}." for place in range(4))
    fields = {"task": "xstory_cloze", "split": split}
    return row(f"{split}{number}", four, [" He drank.", f" He left {number}."], number % 2, **fields)


def entailment(number, split="test"):
    """A row of NLI's form: premise, hypothesis, one of three words."""
    prompt = f"The man opened tap {number}. Question: did water flow? Yes, no, or maybe?"
    fields = {"task": "xnli", "language": "zh", "split": split}
    return row(f"{split}{number}", prompt, [" Yes", " Maybe", " No"], number % 3, **fields)


@pytest.mark.parametrize("shots", [0, 1, 4])
def test_stories_and_entailments_are_scored_with_and_without_examples(known, shots):
    rows = [form(number) for form in (story, entailment) for number in range(5)]
    pool = [form(number, "train") for form in (story, entailment) for number in range(5, 11)]
    shown = with_shots(rows, pool, shots, seed=0)
    chosen = Chooser(known[0], Encoder(known[1])).choose(shown)
    for given, found in zip(shown[::5], chosen[::5], strict=True):
        assert given.prompt.count("\n\n") == shots
        assert found.logprobs == pytest.approx(alone(*known, given), abs=1e-4)
    table = accuracies(chosen)
    assert (table["xnli"]["chance"], table["xstory_cloze"]["chance"]) == (33.333, 50)


def xcopa(folder, language, split="test", count=8):
    """Rows of an XCOPA file under two prompts."""
    joins = {"a": {"cause": "because", "effect": "so"}, "b": {"cause": "Cause:", "effect": "Effect:"}}
    lines = (folder / f"{split}.{language}.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    for template, join in joins.items():
        for raw in map(json.loads, lines):
            options = [" " + raw["choice1"], " " + raw["choice2"]]
            prompt = f"{raw['premise']} {join[raw['question']]}"
            fields = {"task": "xcopa", "language": language, "template": template, "split": split}
            yield row(f"{split}-{raw['idx']}", prompt, options, raw["label"], **fields)


def xwinograd(path, count=4):
    """Rows of the XWinograd file: the pronoun's place is left open, and filled by one of two candidates."""
    seen = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        language, _, _, sentence, _, pronoun, candidates = line.split("\t")
        if seen.setdefault(language, 0) == count:
            continue
        seen[language] += 1
        pronoun, candidates = json.loads(pronoun), json.loads(candidates)
        answer = next(place for place, candidate in enumerate(candidates) if candidate[3])
        prompt = f"{sentence}\n{pronoun[0]}:"
        options = [" " + candidate[0] for candidate in candidates]
        yield row(number, prompt, options, answer, task="xwinograd", language=language)


def test_xcopa_and_xwinograd_are_scored_in_all_their_languages(shared):
    data = shared / "data" / "multitask"
    if not (data / "xcopa").is_dir():
        pytest.skip("ALIGN_TEST_DATA: no multitask data")
    languages = sorted(path.name.split(".")[1] for path in (data / "xcopa").glob("test.*.jsonl"))
    rows = [found for language in languages for found in xcopa(data / "xcopa", language)]
    rows += xwinograd(data / "xwinograd_dataset.tsv")
    model, tokenizer = model_of("bloom")
    table = accuracies(Chooser(model, Encoder(tokenizer)).choose(rows))
    assert len(table["xcopa"]["sum"]["languages"]) == 11
    assert sorted(table["xwinograd"]["token"]["languages"]) == ["en", "fr", "jp", "pt", "ru", "zh"]
    assert table["xcopa"]["chance"] == 50
    assert table["xcopa"]["sum"]["median"]["accuracy"] <= table["xcopa"]["sum"]["best"]["accuracy"]
