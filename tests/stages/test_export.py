"""The export stage: forms, a card without paths, a score on what was exported, a repository on a hub."""

import base64
import http.server
import importlib.util
import json
import threading
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from align import Recipe
from align.errors import BackendError, ConfigError, DataError
from align.io import write, write_json
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.models.trained_on import benchmarks_of
from align.recipe.stage import Context
from align.schema import Problem
from align.stages import export

TEXTS = [f"# add {n} to every item\ndef f(xs):\n    return [x + {n} for x in xs]\n" for n in range(40)]
BASE = "bigcode/tiny_starcoder_py"
TOKEN = "hf_aSecretThatNobodyMaySee"


@pytest.fixture
def tiny(tmp_path):
    tokenizer = train_tokenizer(TEXTS, 300)
    shape = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position": 128}
    model = random_model("gpt_bigcode", vocab_size=len(tokenizer), seed=0, **shape)
    save_tiny(model, tokenizer, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def recipe(tiny, tmp_path):
    """Make a recipe: SFT with LoRA on problems with licences, then exports and a score."""

    def start(**stages):
        problems = [
            Problem(
                id="", prompt=f"# return {n}", entry_point="f", signature="def f():", source="seeds", licence="mit",
                tests=[f"assert f() == {n}"],
            ) for n in range(4)
        ]  # fmt: skip
        write(tmp_path / "problems.jsonl", problems)
        write(
            tmp_path / "rows.jsonl",
            [{"prompt": f"# add {n}\n", "completion": f"def f(): return {n}"} for n in range(4)],
        )
        args = {"max_steps": 2, "use_cpu": True, "learning_rate": 0.1}
        sft = {"model": "base", "data": "rows.jsonl", "lora": {"r": 4}, "global_batch_size": 2, "args": args}
        document = {
            "models": {"base": {"model_name_or_path": "tiny"}},
            "stages": {"sft": sft, "export": {"model": "$sft/model"}, **stages},
        }
        with open(tmp_path / "r.yaml", "w") as file:
            YAML().dump(document, file)
        return Recipe.load(tmp_path / "r.yaml")

    return start


def head(folder):
    return YAML(typ="safe").load((folder / "README.md").read_text().split("---\n")[1])


def test_a_recipe_exports_its_adapter_and_scores_what_it_exported(recipe, tmp_path):
    forms = ["bnb-nf4"] + (["ctranslate2"] if importlib.util.find_spec("ctranslate2") else [])
    scored = {"whole": "$export/model"} | {name: f"$export/{name}" for name in forms}
    made = recipe(
        export={"model": "$sft/model", "formats": forms},
        score={"models": scored, "problems": "problems.jsonl", "max_new_tokens": 8, "isolation": "none"},
    )
    run = made.run(runs=tmp_path / "runs")
    score = json.loads((run / "score" / "score.json").read_text())
    assert score["models"].keys() == scored.keys()
    told = json.loads((run / "export" / "export.json").read_text())
    assert told["model"] == "sft"
    assert list(told["forms"]) == ["safetensors", *forms]
    assert told["forms"]["safetensors"]["difference"] < 1e-5
    for folder in ("", "model", *forms):
        card = (run / "export" / folder / "README.md").read_text()
        assert "LoRA (arXiv 2106.09685)" in card
        assert "rows.jsonl" in card
        assert str(tmp_path) not in card
    assert not list((run / "export").glob(".*"))


def test_a_format_that_is_not_asked_for_is_not_there_to_be_named(recipe):
    with pytest.raises(ConfigError, match=r"export leaves no 'ctranslate2'"):
        recipe(score={"models": {"a": "$export/ctranslate2"}, "problems": "problems.jsonl"})


def test_gptq_needs_texts_that_are_no_benchmark(recipe, tmp_path):
    with pytest.raises(ConfigError, match=r"calibration: gptq-int4 is made by the help of texts"):
        recipe(export={"model": "$sft/model", "formats": ["gptq-int4"]})
    with pytest.raises(ConfigError, match=r"group_size: means nothing without gptq"):
        recipe(export={"model": "$sft/model", "group_size": 32})
    text = (tmp_path / "r.yaml").read_text().replace("group_size: 32", "formats: [gptq-int4]\n    calibration: bench")
    (tmp_path / "r.yaml").write_text(f"benchmarks: {{bench: problems.jsonl}}\n{text}")
    with pytest.raises(ConfigError, match=r"calibration: a model fitted to the benchmark 'bench'"):
        Recipe.load(tmp_path / "r.yaml")


@pytest.fixture
def exported(tiny, tmp_path, monkeypatch):
    """Export the tiny model as if it were a published one's; returns the stage's folder."""
    (tiny / "README.md").write_text("---\nlicense: bigcode-openrail-m\n---\n# tiny\n")
    write_json(tiny / "trained_on.json", {"benchmarks": ["MBPP"], "variant": None})
    out = tmp_path / "run" / "export"

    def start(**options):
        out.mkdir(parents=True, exist_ok=True)
        context = Context("export", out, 0)
        return export.run(export.Config.model_validate({"model": str(tiny), **options}), context), out

    return start


def test_the_card_passes_on_terms_results_and_what_not_to_evaluate_on(exported, tmp_path):
    summary = {"pass@1": 61.64, "low": 55.0, "high": 68.0, "problems": 164, "n": 200}
    write_json(tmp_path / "score.json", {"models": {"rrtf": summary}})
    _, out = exported(results=str(tmp_path / "score.json"))
    card = (out / "model" / "README.md").read_text()
    assert head(out / "model")["license"] == "bigcode-openrail-m"
    assert "must give a copy of that licence along" in card
    assert "bigcode-model-license-agreement" in card
    assert "MBPP: do not evaluate on them" in card
    assert "| rrtf | 61.6 | 55.0–68.0 | 164 | 200 |" in card
    assert benchmarks_of(out / "model") == ("MBPP",)


def test_the_card_tells_results_of_tasks(exported, tmp_path):
    (tmp_path / "score.json").write_text(json.dumps({"models": {"tuned": {"tasks": {"xcopa": [61.25, 58.0, 64.5]}}}}))
    _, out = exported(results=str(tmp_path / "score.json"))
    assert "| tuned | xcopa | 61.2 | 58.0–64.5 |" in (out / "README.md").read_text()


@pytest.mark.parametrize("text", ['{"a": 1}\n{"a": 2}\n', "[]", '{"models": []}', ""])
def test_results_that_are_no_score_are_refused_before_anything_is_made(exported, tmp_path, text):
    (tmp_path / "results.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"results: .*results\.jsonl is no score\.json: name that of a score stage"):
        exported(results=str(tmp_path / "results.jsonl"))
    assert not list((tmp_path / "run" / "export").iterdir())


def test_an_interrupted_export_makes_only_what_is_not_whole(exported, monkeypatch):
    made = []
    forms = importlib.import_module("align.export.forms")
    real = forms.quantised

    def torn(name, *rest):
        made.append(name)
        if name == "bnb-nf4" and made.count(name) == 1:
            raise BackendError("torn")
        return real(name, *rest)

    monkeypatch.setattr(forms, "quantised", torn)
    with pytest.raises(BackendError, match="torn"):
        exported(formats=["bnb-int8", "bnb-nf4"])
    _, out = exported(formats=["bnb-int8", "bnb-nf4"])
    assert made == ["bnb-int8", "bnb-nf4", "bnb-nf4"]
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        "model", "bnb-int8", "bnb-nf4", "README.md", "export.json",
    }  # fmt: skip


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub's interface that an upload uses; takes every file with its commit."""

    files: dict = {}
    created: dict = {}
    tokens: set = set()
    refuses = False

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        Hub.tokens.add(self.headers["Authorization"])
        if Hub.refuses:
            self.answer({"error": "no rights"}, 403)
        elif self.path == "/api/repos/create":
            Hub.created = json.loads(body)
            self.answer({"url": f"{self.server.address}/me/tiny", "id": "me/tiny"})
        elif "/preupload/" in self.path:
            named = [entry["path"] for entry in json.loads(body)["files"]]
            told = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            self.answer({"files": [{"path": path, **told} for path in named]})
        elif "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            for line in lines:
                if line["key"] == "file":
                    Hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            told = {"commitUrl": f"{self.server.address}/me/tiny/commit/0", "commitOid": "0" * 40, "success": True}
            self.answer(told)
        else:
            self.answer({}, 200)

    def do_GET(self):
        self.answer({"id": "me/tiny", "sha": "0" * 40, "siblings": []})

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address = f"http://127.0.0.1:{server.server_port}"
    Hub.files, Hub.created, Hub.tokens, Hub.refuses = {}, {}, set(), False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    # the client reads it once, at its import
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield Hub
    server.shutdown()
    server.server_close()


def test_nothing_is_sent_without_the_key(exported, hub):
    exported()
    assert not hub.files
    assert not hub.tokens


def test_an_export_is_pushed_with_its_card_and_no_token_in_any_file(exported, hub, capfd):
    counts, out = exported(formats=["bnb-int8"], push_to_hub={"repo_id": "me/tiny"})
    assert counts["pushed"] == "me/tiny"
    assert hub.created["name"] == "tiny"
    assert hub.created.get("private") is True or hub.created.get("visibility") == "private"
    assert hub.tokens == {f"Bearer {TOKEN}"}
    assert {"README.md", "config.json", "model.safetensors", "bnb-int8/model.safetensors"} <= hub.files.keys()
    assert hub.files["model.safetensors"] == (out / "model" / "model.safetensors").read_bytes()
    said = "".join(capfd.readouterr())
    kept = b"".join(path.read_bytes() for path in Path(out).rglob("*") if path.is_file())
    assert TOKEN not in said
    assert TOKEN.encode() not in kept + b"".join(hub.files.values())


def test_a_hub_that_refuses_is_one_line_without_the_token(exported, hub):
    hub.refuses = True
    with pytest.raises(BackendError, match=r"push_to_hub: me/tiny: the hub did not take it .*run again") as caught:
        exported(push_to_hub={"repo_id": "me/tiny"})
    assert TOKEN not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_offline_or_without_a_token_a_push_is_refused_before_anything_is_made(exported, hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE is set, so nothing is sent"):
        exported(push_to_hub={"repo_id": "me/tiny"})
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ConfigError, match="no token: set the environment variable HF_TOKEN"):
        exported(push_to_hub={"repo_id": "me/tiny"})
    assert not any((tmp_path / "run" / "export").iterdir())
    assert not hub.tokens
