"""The manifest of a data step: JSON as it is on disk, read once, and one sentence where it is none."""

import json

import pytest

from sp3f_verl.data.manifest import Manifest
from sp3f_verl.data.output import CARD, Output
from sp3f_verl.errors import BadInput

MANIFEST = Manifest(
    step="croco",
    inputs={"b.parquet": "22", "a.parquet": "11"},
    settings={"n": 1},
    rows={"train": {"es": 2}},
    notes={"pairs": {"margin": None}},
    versions={"pyarrow": "1", "vllm": None},
    outputs={"train.parquet": "33"},
)


def test_what_is_written_is_read(tmp_path):
    MANIFEST.write(tmp_path)
    text = (tmp_path / "manifest.json").read_text()
    values = json.loads(text)
    assert text == json.dumps(values, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    assert set(values) == set(Manifest.model_fields) and values["prompts"] == {}
    assert Manifest.read(tmp_path) == MANIFEST
    assert MANIFEST.identity()["inputs"] == ["11", "22"], "the content of inputs, not their paths or order"


@pytest.mark.parametrize("values", [{"iteration": 1}, {"step": "croco"}, [1], None])
def test_another_kind_of_manifest_is_none(tmp_path, values):
    assert Manifest.read(tmp_path) is None
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    assert Manifest.read(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "manifest.json cannot be read (Expecting"),
        ("[" * 100_000, "manifest.json cannot be read"),
        ('{"step": "croco", "rows": {"train": {"es": "many"}}}', "manifest.json.rows.train.es"),
        ('{"step": 3, "rows": {}}', "manifest.json.step"),
        ('{"step": "croco", "rows": [1]}', "manifest.json.rows"),
    ],
)
def test_a_broken_manifest_is_one_sentence(tmp_path, text, words):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BadInput) as caught:
        Manifest.read(tmp_path)
    sentence = str(caught.value)
    assert words in sentence and "\n" not in sentence and sentence.endswith(".")


def test_a_models_name_is_plain_text_in_the_card(tmp_path):
    names = ["llama[/q4]", "m`<script>alert(1)</script>", "``", "a\n# b"]
    with Output(tmp_path / "out", "names", {"model": names[1]}, models=names):
        pass
    text = (tmp_path / "out" / CARD).read_text()
    assert "`llama[/q4]`, `` m`<script>alert(1)</script> ``, ``` `` ```, `a # b`" in text
    assert 'Settings: `` {"model": "m`<script>alert(1)</script>"} ``' in text and "\n# b" not in text
