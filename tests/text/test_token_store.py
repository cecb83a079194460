import csv
import gzip
import json
import multiprocessing
import shutil
import signal
import time

import numpy as np
import pytest

from align.errors import DataError
from align.io import sha256_file, write
from align.models.tiny import train_tokenizer
from align.schema import MultitaskRow
from align.text import token_build
from align.text.encode import Encoder
from align.text.token_shards import ALONE
from align.text.token_store import TokenStore, prune, store_folder

ROWS = [
    MultitaskRow(inputs=f"translate {n}: déjà vu {'漢字 ' * (n % 5)}", targets=f"ans {n}" * (n % 3), pack=n // 4)
    for n in range(300)
]


@pytest.fixture(scope="module")
def encoder():
    return Encoder(train_tokenizer([row.inputs + row.targets for row in ROWS], 400))


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "mix" / "rows.jsonl"
    write(path, ROWS)
    return path


@pytest.fixture
def folder(data):
    return store_folder(data)


@pytest.fixture
def small_shards(monkeypatch):
    """A file of these rows has a dozen of shards."""
    monkeypatch.setattr(token_build, "SHARD_BYTES", 3000)


def expected(encoder, row):
    return encoder.prompt(row.inputs), encoder.response(f" {row.targets}") if row.targets else []


def check(store, rows, encoder):
    assert store.rows == len(store) == len(rows)
    found = [tuple(ids.tolist() for ids in store[n]) for n in range(len(rows))]
    wanted = [expected(encoder, row) for row in rows]
    assert found == wanted
    assert store.prompts.tolist() == [len(prompt) for prompt, _ in wanted]
    assert store.targets.tolist() == [len(target) for _, target in wanted]
    assert store.packs.tolist() == [ALONE if row.pack is None else row.pack for row in rows]


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_ids_are_those_of_the_encoder_in_the_order_of_the_file(data, encoder, folder):
    store = TokenStore.of(data, encoder, folder)
    check(store, ROWS, encoder)
    assert folder == data.parent.parent / ".tokens"
    assert store.tokens.dtype == np.uint16
    assert isinstance(store.tokens, np.memmap)


def test_processes_and_shards_change_no_byte(data, encoder, tmp_path, small_shards):
    one, two = tmp_path / "one", tmp_path / "two"
    check(TokenStore.of(data, encoder, one, workers=1), ROWS, encoder)
    check(TokenStore.of(data, encoder, two, workers=2), ROWS, encoder)
    assert files(one) == files(two)
    assert len([name for name in files(one) if name.suffix == ".npy"]) == 4


def test_rows_at_hand_have_the_same_ids(encoder):
    check(TokenStore.in_memory(ROWS, encoder), ROWS, encoder)
    assert TokenStore.in_memory([], encoder).rows == 0


def test_a_tokenizer_that_opens_with_a_bos_does_so_here(tmp_path, data, folder):
    from tokenizers.processors import TemplateProcessing

    marking = train_tokenizer([row.inputs for row in ROWS], 400)
    marking.add_special_tokens({"bos_token": "<s>"})
    special = [("<s>", marking.bos_token_id)]
    marking.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=special)
    encoder = Encoder(marking)
    assert encoder.opens_with_bos
    check(TokenStore.of(data, encoder, folder), ROWS, encoder)


def test_truncation_that_the_tokenizer_remembers_does_not_reach_the_store(data, folder):
    encoder = Encoder(train_tokenizer([row.inputs for row in ROWS], 400))
    encoder.tokenizer("a b c d e f", truncation=True, max_length=2, padding="max_length")
    check(TokenStore.of(data, encoder, folder), ROWS, encoder)


@pytest.mark.parametrize("split", [False, True])
def test_special_tokens_in_the_text_are_what_the_tokenizer_takes_them_for(tmp_path, split):
    encoder = Encoder(train_tokenizer(["abc"], 300))
    encoder.tokenizer.split_special_tokens = split
    rows = [MultitaskRow(inputs="a<eos>b", targets="<pad>c")]
    write(tmp_path / "rows.jsonl", rows)
    check(TokenStore.of(tmp_path / "rows.jsonl", encoder, tmp_path / "s"), rows, encoder)


def test_a_tokenizer_written_in_python_works_in_this_process(data, folder):
    from transformers import ByT5Tokenizer

    encoder = Encoder(ByT5Tokenizer())
    check(TokenStore.of(data, encoder, folder, workers=2), ROWS, encoder)


def test_a_large_vocabulary_has_wider_ids(data, folder):
    tokenizer = train_tokenizer([row.inputs for row in ROWS], 400)
    tokenizer.add_tokens([f"<extra_{n}>" for n in range(70_000)])
    rows = [MultitaskRow(inputs="<extra_69999>", targets="x")]
    write(data, rows)
    store = TokenStore.of(data, Encoder(tokenizer), folder)
    assert store.tokens.dtype == np.uint32
    check(store, rows, Encoder(tokenizer))


def test_what_is_built_is_opened_and_not_built_again(data, encoder, folder, monkeypatch):
    TokenStore.of(data, encoder, folder)
    monkeypatch.setattr("align.text.token_store.build", None)
    check(TokenStore.of(data, encoder, folder), ROWS, encoder)


def test_other_data_or_another_tokenizer_is_another_store(data, encoder, folder):
    TokenStore.of(data, encoder, folder)
    other = Encoder(train_tokenizer(["other"], 300))
    check(TokenStore.of(data, other, folder), ROWS, other)
    write(data.with_name("others.jsonl"), ROWS[:7])
    check(TokenStore.of(data.with_name("others.jsonl"), encoder, folder), ROWS[:7], encoder)
    assert len(list(folder.glob("[0-9a-f]*/store.json"))) == 3


@pytest.mark.parametrize("form", ["gzip", "array", "columns"])
def test_other_forms_of_files_have_the_same_ids(tmp_path, encoder, form):
    names = {"inputs": "question", "targets": "answer"} if form == "columns" else {}
    values = [{names.get(name, name): value for name, value in row.model_dump().items()} for row in ROWS]
    lines = "".join(json.dumps(value) + "\n" for value in values)
    path = tmp_path / {"gzip": "rows.jsonl.gz", "array": "rows.json", "columns": "rows.jsonl"}[form]
    text = json.dumps(values) if form == "array" else lines
    path.write_bytes(gzip.compress(text.encode()) if form == "gzip" else text.encode())
    store = TokenStore.of(path, encoder, tmp_path / "s", columns=names or None)
    check(store, ROWS, encoder)
    assert store.name == path.name


def test_blank_lines_a_mark_of_byte_order_and_carriage_returns_are_no_rows(tmp_path, encoder, small_shards):
    lines = [row.model_dump_json() for row in ROWS]
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode())
    check(TokenStore.of(tmp_path / "rows.jsonl", encoder, tmp_path / "s", workers=1), ROWS, encoder)


def test_a_file_without_rows_is_a_store_without_rows(tmp_path, encoder):
    (tmp_path / "rows.jsonl").write_text("\n")
    for _ in range(2):
        assert TokenStore.of(tmp_path / "rows.jsonl", encoder, tmp_path / "s").rows == 0
    (tmp_path / "rows.jsonl").write_text("")
    assert TokenStore.of(tmp_path / "rows.jsonl", encoder, tmp_path / "s").rows == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"inputs": "a"}', "rows.jsonl:301: targets: missing"),
        ("{", "rows.jsonl:301: not JSON"),
        ("[1]", "rows.jsonl:301: expected a JSON object, found list"),
        ('{"inputs": "a", "targets": 3}', "rows.jsonl:301: targets: "),
        (b"\xff", "rows.jsonl:301: not UTF-8"),
        ('{"inputs": "half \\ud800", "targets": "b"}', "rows.jsonl: half a surrogate pair after 'half '"),
    ],
)
def test_a_line_that_is_no_row_is_told_as_ever(data, encoder, folder, small_shards, line, message):
    with open(data, "ab") as file:
        file.write(line if isinstance(line, bytes) else line.encode())
    for workers in (1, 2) if line == "{" else (1,):
        with pytest.raises(DataError, match=message):
            TokenStore.of(data, encoder, folder, workers=workers)


def test_a_missing_file_and_a_folder_that_cannot_be_made_are_one_line(data, encoder, tmp_path):
    with pytest.raises(DataError, match=r"none.jsonl: cannot be read"):
        TokenStore.of(tmp_path / "none.jsonl", encoder, tmp_path / "s")
    with pytest.raises(DataError, match="cannot be written"):
        TokenStore.of(data, encoder, data / "below")


@pytest.mark.parametrize("name", ["tokens.npy", "offsets.npy", "prompts.npy", "packs.npy", "store.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_store_is_found_and_built_again(data, encoder, folder, name, damage):
    TokenStore.of(data, encoder, folder)
    (path,) = folder.glob(f"*/{name}")
    before = files(folder)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    check(TokenStore.of(data, encoder, folder), ROWS, encoder)
    assert files(folder) == before


def test_a_large_file_is_hashed_again_only_where_its_size_or_time_is_another(data, encoder, folder, monkeypatch):
    monkeypatch.setattr("align.io.LARGE_BYTES", 0)
    TokenStore.of(data, encoder, folder)
    read = []
    monkeypatch.setattr("align.io.sha256_file", lambda path: read.append(path.name) or sha256_file(path))
    check(TokenStore.of(data, encoder, folder), ROWS, encoder)
    assert read == []
    (folder / ".hashes.json").write_text("{}")
    (path,) = folder.glob("*/packs.npy")
    content = path.read_bytes()
    path.write_bytes(content[:-5] + b"x" + content[-4:])
    check(TokenStore.of(data, encoder, folder), ROWS, encoder)
    assert {"rows.jsonl", "packs.npy"} <= set(read)
    assert path.read_bytes() == content


def stores(folder):
    return {path.name for path in folder.iterdir() if path.is_dir()}


def test_a_store_goes_when_its_data_are_gone_or_changed_and_another_is_built(data, encoder, folder, tmp_path):
    paths = [tmp_path / name / "rows.jsonl" for name in ("kept", "gone", "changed", "moved")]
    for number, path in enumerate(paths):
        write(path, ROWS[number + 1 :])
        TokenStore.of(path, encoder, folder)
    _, gone, changed, moved = paths
    assert len(stores(folder)) == 4
    assert prune(folder) == []
    held = TokenStore.of(gone, encoder, folder)
    gone.unlink()
    write(changed, ROWS[:9])
    # the same rows in the folder of another stage
    moved.rename(tmp_path / "rows.jsonl")
    TokenStore.of(tmp_path / "rows.jsonl", encoder, folder)
    # a removal that was killed
    (folder / "0123456789abcdef").mkdir()
    (folder / "0123456789abcdef" / "tokens.npy").touch()
    assert len(prune(folder, dry_run=True)) == 3
    assert len(stores(folder)) == 5
    TokenStore.of(data, encoder, folder)
    check(held, ROWS[2:], encoder)
    assert prune(folder) == []
    assert len(stores(folder)) == 3


def test_a_build_that_stopped_goes_on_from_its_shards(data, encoder, folder, small_shards, monkeypatch):
    made, kept = [], token_build.write_shard

    def stopping(job, ids, shards, number):
        made.append(number)
        if len(made) == 5:
            raise KeyboardInterrupt
        kept(job, ids, shards, number)

    monkeypatch.setattr(token_build, "write_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        TokenStore.of(data, encoder, folder, workers=1)
    (shards,) = folder.glob(".*.shards")
    # one of them was torn by a fall of the machine
    shard = shards / "shard-000002.npz"
    shard.write_bytes(shard.read_bytes()[:-40])
    check(TokenStore.of(data, encoder, folder, workers=1), ROWS, encoder)
    assert made[:5] == [0, 1, 2, 3, 4]
    assert made[5:] == [*range(4, max(made) + 1), 2]
    assert not list(folder.glob(".*.shards")) + list(folder.glob(".*.tmp"))


def test_two_builders_at_once_and_one_that_is_killed_leave_one_whole_store(
    data, encoder, folder, tmp_path, small_shards, monkeypatch
):
    TokenStore.of(data, encoder, tmp_path / "calm", workers=1)
    kept = token_build.write_shard
    monkeypatch.setattr(token_build, "write_shard", lambda *given: time.sleep(0.05) or kept(*given))
    fork = multiprocessing.get_context("fork")
    builders = [fork.Process(target=TokenStore.of, args=(data, encoder, folder), kwargs={"workers": 1}) for _ in "ab"]
    for one in builders:
        one.start()
    while not list(folder.glob(".*.shards/*.npz")):
        time.sleep(0.01)
    builders[0].kill()
    for one in builders:
        one.join(120)
    assert [one.exitcode for one in builders] == [-signal.SIGKILL, 0]
    (home,) = folder.glob("[0-9a-f]*")
    assert files(home) == files(tmp_path / "calm" / home.name)
    assert not list(folder.glob(".*.shards")) + list(folder.glob(".*.tmp"))


def test_rows_of_a_store_in_another_order_are_copied(data, encoder, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("align.text.token_store.GATHERED", 500)
    order = np.random.default_rng(0).integers(0, len(ROWS), 700)
    rows = [ROWS[n].model_copy(update={"pack": place // 9}) for place, n in enumerate(order)]
    path = tmp_path / "other" / "rows.jsonl"
    write(path, rows)
    store = TokenStore.of(data, encoder, folder)
    check(store.take(order, path, folder, packs=[row.pack for row in rows]), rows, encoder)
    # whoever opens the file finds it
    monkeypatch.setattr("align.text.token_store.build", None)
    check(TokenStore.of(path, encoder, folder), rows, encoder)
    write(path.with_name("none"), [])
    assert store.take([], path.with_name("none"), folder, packs=None).rows == 0


def test_text_of_many_languages_has_the_ids_of_the_encoder(shared, tmp_path):
    folder = shared / "data" / "multitask"
    if not folder.is_dir():
        pytest.skip("ALIGN_TEST_DATA: no multitask data")
    rows = []
    for path in sorted(folder.glob("xcopa/val.*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows.append(MultitaskRow(inputs=row["premise"], targets=row["choice1"], language=path.suffixes[0][1:]))
    for path in sorted(folder.glob("mgsm/*.tsv")):
        with open(path, encoding="utf-8", newline="") as file:
            rows += [
                MultitaskRow(inputs=question, targets=answer, language=path.stem[-2:])
                for question, answer in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            ]
    assert len({row.language for row in rows}) >= 16
    rows = rows[::4]
    encoder = Encoder(train_tokenizer([row.inputs for row in rows[::3]], 800))
    write(tmp_path / "rows.jsonl", rows)
    check(TokenStore.of(tmp_path / "rows.jsonl", encoder, tmp_path / "s", workers=2), rows, encoder)


def test_a_store_that_was_removed_while_it_is_read_stays_readable(data, encoder, folder):
    store = TokenStore.of(data, encoder, folder)
    shutil.rmtree(folder)
    check(store, ROWS, encoder)
