"""The encoder-decoder backend with a tiny M2M100 of random weights: what NLLB is, in small."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedTokenizerFast

from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Ask, FailureKind, Status, Store
from sp3f_verl.llm.backends.seq2seq import Seq2SeqBackend

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "eng_Latn", "deu_Latn", "spa_Latn", *"abcdefghij"]
GERMAN = {"source": "eng_Latn", "target": "deu_Latn"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("m2m")
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    special["additional_special_tokens"] = WORDS[4:7]
    PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=24, **special).save_pretrained(path)
    torch.manual_seed(1)
    small = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in SIZES.items()}
    config = M2M100Config(
        vocab_size=len(WORDS), d_model=16, max_position_embeddings=24, decoder_start_token_id=2, **small
    )
    M2M100ForConditionalGeneration(config).save_pretrained(path)
    return path


SIZES = {"layers": 1, "attention_heads": 2, "ffn_dim": 16}


def ask(ident, text, extra=GERMAN, most=6):
    return Ask(ident, [{"role": "user", "content": text}], most, extra=extra)


def test_answers_lengths_and_the_store(folder, tmp_path):
    asks = [
        ask("one", "a b c"),
        ask("two", "d e"),
        ask("long", "a " * 40),
        ask("es", "a b c", GERMAN | {"target": "spa_Latn"}),
    ]
    with Seq2SeqBackend(folder, store=Store(tmp_path / "store")) as backend:
        first = {answer.id: answer for answer in backend.answers(asks)}
        alone = {answer.id: answer.text for one in asks[:2] for answer in Seq2SeqBackend(folder).answers([one])}
    assert first["long"].failure is FailureKind.TOO_LONG and first["long"].text is None
    for ident in ("one", "two"):
        assert first[ident].text == alone[ident], "padding changes nothing"
        assert first[ident].status in (Status.OK, Status.TRUNCATED) and "<" not in first[ident].text
        assert (first[ident].finish_reason == "length") == (first[ident].status is Status.TRUNCATED)
    assert first["one"].usage.prompt_tokens == 4
    with Seq2SeqBackend(folder, store=Store(tmp_path / "store")) as backend:
        again = {answer.id: answer for answer in backend.answers(asks[:2])}
        assert backend.totals.reused == 2 and {key: answer.text for key, answer in again.items()} == alone


def test_bad_models_and_languages_are_one_sentence(folder, tmp_path):
    with pytest.raises(BadInput, match="name a model's folder"):
        Seq2SeqBackend(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(BadInput, match="is no encoder-decoder model"):
        Seq2SeqBackend(tmp_path)
    with Seq2SeqBackend(folder) as backend, pytest.raises(BadInput, match="has no language 'tlh_Latn'"):
        list(backend.answers([ask("x", "a", GERMAN | {"target": "tlh_Latn"})]))
