"""Secrets: found by their form, replaced, never repeated. The keys here are made up."""

import time

import pytest

from align.clean.secrets import find, redacted, replace, search
from align.schema import Message, Problem

pytest.importorskip("detect_secrets")
LETTERS = "Ab3dEfGh1jKlMn0pQrStUvWxYz2456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
PRIVATE = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("secret", "tag"),
    [
        ("AKIA" + "IOSFODNN7ABCDEFG", "KEY"),
        ("ghp_" + LETTERS[:36], "KEY"),
        ("AIza" + LETTERS[:35], "KEY"),
        ("hf_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH", "KEY"),
        ("sk-ant-" + LETTERS[:90], "KEY"),
        ("xoxb-" + "123456789012-abcdefghijkl", "KEY"),
        (PRIVATE, "KEY"),
        ("ann.lee+work@corp-mail.co.uk", "EMAIL"),
        ("93.184.216.34", "IP_ADDRESS"),
        ("2606:2800:220:1:248:1893:25c8:1946", "IP_ADDRESS"),
    ],
)
def test_a_secret_is_replaced_whole(secret: str, tag: str) -> None:
    assert replace(f"Use {secret} here.\nAnd {secret}") == f"Use <{tag}> here.\nAnd <{tag}>"


def test_home_folders_lose_the_name() -> None:
    assert replace("open('/home/annlee/data.csv')") == "open('/home/<USERNAME>/data.csv')"
    assert replace(r"C:\Users\annlee\data") == r"C:\Users\<USERNAME>\data"
    assert replace("/home/user/data") == "/home/user/data"


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com and admin@mail.test",
        "git@github.com:owner/name.git",
        "127.0.0.1, 192.168.0.1, 10.0.0.1, 8.8.8.8 and 0.0.0.0",
        "version 1.2.3.4",
        "a[::2], a[1:2:3], 12:30:45, std::vector::size",
        "weights@inputs.mean(axis=0)",
        "@property\ndef name(self): return self._name",
        "hash = 'd41d8cd98f00b204e9800998ecf8427e'",
        "password = 'hunter2'",
        "An APPROXIMATE answer",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert find(text) == []
    assert replace(text) == text


def test_evidence_names_the_place_and_never_the_secret() -> None:
    key = "ghp_" + LETTERS[:36]
    problem = Problem(prompt="Sum.", reference=f"a = 1\ntoken = '{key}'", meta={"author": "ann.lee@corp.io"})
    found = search(problem)
    assert found == {"reference": "GitHub Token in line 2 of reference", "meta": "e-mail address in line 1 of meta"}
    assert key not in str(found)


def test_a_redacted_problem_has_tags_in_every_field_and_a_new_id() -> None:
    address = "ann.lee@corp.io"
    turn = [Message(role="user", content=f"Mail {address}")]
    problem = Problem(prompt=turn, reference=address, tests=[f"assert f() == '{address}'"], meta={"by": [address]})
    clean = redacted(problem)
    assert address not in clean.model_dump_json()
    assert clean.prompt == [Message(role="user", content="Mail <EMAIL>")]
    assert clean.id != problem.id
    assert clean.meta == {"by": ["<EMAIL>"]}
    assert search(clean) == {}


def test_a_key_in_a_very_long_line_is_found() -> None:
    key = "AKIA" + "IOSFODNN7ABCDEFG"
    for place in (0, 3_690, 3_700, 3_990, 25_000):
        assert replace("x " * (place // 2) + key + " y" * 10_000).count("<KEY>") == 1


@pytest.mark.parametrize(
    "piece", ["/", "eyJ", "a@", "//x:", "1.", ":a", "-----BEGIN PRIVATE KEY-----", "sk-", "\ud800\x00"]
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    start = time.process_time()
    find((piece * 20_000)[:20_000] + "/:_authToken= aws ibm cloudant secret softlayer -us k_live_ xox")
    assert time.process_time() - start < 5
