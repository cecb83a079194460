"""Generation with weights: the same request gets the same reply, whatever is asked beside it and in what batch."""

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPTBigCodeConfig,
    GPTBigCodeForCausalLM,
    PreTrainedTokenizerFast,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

from align.errors import ConfigError, DataError
from align.generate.batched import plan_batches
from align.generate.hf import HfGenerator, InverseCdf, nucleus
from align.generate.request import Reply, Request, Sampling
from align.generate.thinking import split_thinking
from align.schema import Message

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
VOCABULARY = {token: index for index, token in enumerate(["<pad>", "<eos>", *ALPHABET])}
SIZES = {"vocab_size": len(VOCABULARY), "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}


def byte_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    """One token a byte."""
    bytes_only = Tokenizer(models.BPE(vocab=VOCABULARY, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, pad_token="<pad>", eos_token="<eos>", padding_side="left", **options
    )


def tiny(kind: str) -> Any:
    torch.manual_seed(1)
    if kind == "bloom":
        config = BloomConfig(hidden_size=32, n_layer=2, n_head=2, initializer_range=0.3, **SIZES)
        return BloomForCausalLM(config).eval()
    if kind == "starcoder2":
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
        config = Starcoder2Config(intermediate_size=64, initializer_range=0.3, **sizes, **SIZES)
        return Starcoder2ForCausalLM(config).eval()
    config = GPTBigCodeConfig(n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3, **SIZES)
    return GPTBigCodeForCausalLM(config).eval()


def tiny_generator(kind: str = "gpt_bigcode", batch_size: int = 4) -> HfGenerator:
    return HfGenerator(tiny(kind), byte_tokenizer(), batch_size)


def ask(prompt: str, seed: int = 0, **sampling: Any) -> Request:
    return Request(prompt=prompt, seed=seed, sampling=Sampling(**{"max_new_tokens": 12, **sampling}))


def replies(generator: HfGenerator, requests: list[Request], done: set[int] | None = None) -> dict[int, Reply]:
    return {index: reply for batch in generator.generate(requests, done or ()) for index, reply in batch.items()}


PROMPTS = ["a", "bcd", "def f(x):", "to be", "# f(xs): total", "hello", "z" * 30, "yy"]


@pytest.mark.parametrize("kind", ["gpt_bigcode", "starcoder2", "bloom"])
def test_greedy_text_is_the_step_by_step_argmax(kind: str) -> None:
    generator = tiny_generator(kind)
    found = replies(generator, [ask(prompt, temperature=0) for prompt in PROMPTS])
    for index, prompt in enumerate(PROMPTS):
        ids = generator.encoder.prompt(prompt)
        start = len(ids)
        while len(ids) - start < 12 and 1 not in ids[start:]:
            with torch.no_grad():
                ids.append(int(generator.model(torch.tensor([ids])).logits[0, -1].argmax()))
        new = ids[start:]
        assert found[index].text == generator.encoder.decode(new)
        assert found[index].finish == ("stop" if 1 in new else "length")


def test_replies_do_not_depend_on_what_was_done_before() -> None:
    generator = tiny_generator()
    requests = [ask(prompt, seed) for prompt in PROMPTS for seed in range(3)]
    whole = replies(generator, requests)
    assert sorted(whole) == list(range(24))
    first = next(iter(generator.generate(requests)))
    rest = replies(generator, requests, done=set(first))
    assert not set(rest) & set(first)
    assert {**first, **rest} == whole


def test_sampled_text_does_not_depend_on_the_batch_size_or_on_global_state() -> None:
    requests = [ask(prompt, seed) for prompt in PROMPTS for seed in range(2)]
    alone = replies(tiny_generator(batch_size=1), requests)
    torch.manual_seed(99)
    assert replies(tiny_generator(batch_size=16), requests) == alone


def test_the_same_seed_gives_the_same_text_and_others_differ() -> None:
    generator = tiny_generator()
    texts = [replies(generator, [ask("a b c", seed)])[0].text for seed in (1, 1, 2, 3, 4)]
    assert texts[0] == texts[1]
    assert len(set(texts[1:])) == 4


def test_samples_follow_the_models_distribution() -> None:
    generator = tiny_generator(batch_size=2000)
    found = replies(generator, [ask("q", seed, max_new_tokens=1, temperature=1.5) for seed in range(4000)])
    with torch.no_grad():
        logits = generator.model(torch.tensor([generator.encoder.prompt("q")])).logits[0, -1]
    probs = (logits / 1.5).softmax(-1)
    ordinary = [
        token for token in probs.topk(20).indices.tolist() if 34 <= ord(ALPHABET[token - 2]) < 127 and token > 1
    ]
    for token in ordinary:
        share = sum(reply.text == ALPHABET[token - 2] for reply in found.values()) / 4000
        assert share == pytest.approx(float(probs[token]), abs=4 * float(probs[token] / 4000) ** 0.5 + 1e-3)


def test_the_drawn_token_is_the_first_whose_cumulative_probability_exceeds_the_number() -> None:
    scores = torch.tensor([0.2, 0.3, 0.5]).log().expand(5, 3)
    uniform = torch.tensor([[0.0], [0.19], [0.21], [0.49], [0.999999]], dtype=torch.float64)
    drawn = InverseCdf(uniform, temperature=1.0, top_p=1.0, width=4)(torch.zeros(5, 4), scores).argmax(-1)
    assert drawn.tolist() == [0, 0, 1, 1, 2]


def test_the_nucleus_is_the_smallest_set_that_reaches_the_mass() -> None:
    probs = torch.tensor([[0.1, 0.5, 0.15, 0.25]])
    assert (nucleus(probs, 0.74) > 0).tolist() == [[False, True, False, True]]
    assert (nucleus(probs, 0.76) > 0).tolist() == [[False, True, True, True]]
    assert (nucleus(probs, 0.1) > 0).tolist() == [[False, True, False, False]]


def test_a_stop_string_ends_the_text_before_it() -> None:
    generator = tiny_generator()
    whole = replies(generator, [ask(prompt, temperature=0) for prompt in PROMPTS])
    stop = whole[0].text[4:6]
    for index, reply in replies(generator, [ask(prompt, temperature=0, stop=[stop]) for prompt in PROMPTS]).items():
        assert reply.text == whole[index].text.split(stop)[0]
        assert reply.finish == ("stop" if stop in whole[index].text else whole[index].finish)


def test_before_the_least_length_neither_the_end_of_text_nor_a_stop_string_ends_a_reply() -> None:
    generator = tiny_generator()
    whole = replies(generator, [ask(prompt, temperature=0) for prompt in PROMPTS])
    stop = whole[0].text[2:4]
    (bound,) = replies(generator, [ask(PROMPTS[0], temperature=0, stop=[stop], min_new_tokens=8)]).values()
    assert len(bound.text.encode()) >= 8 or bound.usage["completion_tokens"] >= 8
    assert bound.text == whole[0].text or bound.text.startswith(whole[0].text[:6])
    # a model that would end at once must go on
    generator.model.lm_head.bias = torch.nn.Parameter(torch.zeros(len(VOCABULARY)))
    generator.model.lm_head.bias.data[1] = 1000.0
    ended = replies(generator, [ask("ab", seed=3, temperature=1.0), ask("ab", seed=3, min_new_tokens=5)])
    assert [reply.usage["completion_tokens"] for reply in ended.values()] == [0, 5]


def test_a_least_length_has_an_id_of_its_own_and_its_absence_changes_no_id() -> None:
    # an id of requests that were made before there was a least length
    assert Request(prompt="a").key == "af7275da518a32fe"
    assert "min_new_tokens" not in Sampling().model_dump()
    assert Sampling.model_validate_json(Sampling(min_new_tokens=3).model_dump_json()).min_new_tokens == 3
    assert ask("a", min_new_tokens=3).key not in (ask("a").key, ask("a", min_new_tokens=4).key)
    with pytest.raises(ValueError, match="min_new_tokens: 13 is over max_new_tokens 12"):
        ask("a", min_new_tokens=13)


def test_a_batch_has_one_sampling_and_near_lengths() -> None:
    requests = [ask("x" * size, temperature=heat) for size in (9, 1, 8, 2) for heat in (0.5, 1.0)]
    prompts = [[0] * len(str(request.prompt)) for request in requests]
    batches = plan_batches(requests, prompts, 2)
    assert batches == [[2, 6], [4, 0], [3, 7], [5, 1]]


def test_a_checkpoints_own_generation_defaults_do_not_count() -> None:
    model = tiny("gpt_bigcode")
    model.generation_config.repetition_penalty = 50.0
    penalised = HfGenerator(model, byte_tokenizer())
    request = ask("aaaa", temperature=0)
    assert replies(penalised, [request]) == replies(tiny_generator(), [request])


def test_messages_go_through_the_chat_template() -> None:
    template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    chat = HfGenerator(tiny("gpt_bigcode"), byte_tokenizer(chat_template=template))
    asked = ask("", temperature=0).model_copy(update={"prompt": [Message(role="user", content="hi")]})
    plain = replies(tiny_generator(), [ask("<user>hi>", temperature=0)])
    assert replies(chat, [asked]) == plain
    with pytest.raises(ConfigError, match="no chat template"):
        replies(tiny_generator(), [asked])


def test_a_template_that_begins_the_thinking_is_no_reason_to_lose_it() -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}{{ '<think>\\n' }}"
    thinker = HfGenerator(tiny("gpt_bigcode"), byte_tokenizer(chat_template=template))
    asked = ask("", temperature=0).model_copy(update={"prompt": [Message(role="user", content="hi")]})
    plain = replies(tiny_generator(), [ask("hi<think>\n", temperature=0)])[0]
    found = replies(thinker, [asked])[0]
    assert found.text == f"<think>{plain.text}"
    assert split_thinking(found).text == ""


def test_a_template_that_refuses_the_messages_is_one_line() -> None:
    strict = byte_tokenizer(chat_template="{{ raise_exception('roles must alternate') }}")
    asked = ask("").model_copy(update={"prompt": [Message(role="user", content="hi")]})
    with pytest.raises(ConfigError, match=r"chat template refuses the messages \(roles must alternate\)"):
        replies(HfGenerator(tiny("gpt_bigcode"), strict), [asked])


def test_lone_surrogates_and_nuls_are_text_like_any_other() -> None:
    generator = tiny_generator()
    chat = HfGenerator(generator.model, byte_tokenizer(chat_template="{{ messages[0].content }}"))
    asked = ask("").model_copy(update={"prompt": [Message(role="user", content="\ud83d\x00")]})
    found = [*replies(generator, [ask("\ud83d\x00"), ask("\ufffd\x00")]).values(), *replies(chat, [asked]).values()]
    assert found[0].usage == found[1].usage
    assert len(found) == 3


def test_too_long_a_prompt_is_refused_before_anything_is_generated() -> None:
    with pytest.raises(
        ConfigError, match=r"60 tokens and max_new_tokens 12 exceed the model's 64 positions.* 4 or less"
    ):
        next(iter(tiny_generator().generate([ask("a"), ask("x" * 60)])))
    assert len(replies(tiny_generator("bloom"), [ask("x" * 60)])) == 1


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(DataError, match="no token"):
        replies(tiny_generator(), [ask("")])
