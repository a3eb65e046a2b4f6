"""How good translators are: BLEU and chrF++ against references by sacrebleu, corpus and sentence level, never mixed.

A segment that a translator lacks is scored as an empty translation, and counted. A language that it has nothing in is
no score; for the overall average it is imputed by the mean of the others there, and marked.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from sp3f_verl import languages
from sp3f_verl.data.sets.wmt import KINDS
from sp3f_verl.errors import BadInput, nearest

# Scripts without spaces between words, in which a tokenizer that splits at them takes a sentence for one word.
UNSPACED = {"Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan"}
OWN = {"ja": "ja-mecab", "zh": "zh", "ko": "ko-mecab"}  # tokenizers of BLEU that are made for a language
PIECES = ("char", "spm", "flores101", "flores200", "spBLEU-1K")  # those that need no spaces in any script
PACKAGES = dict.fromkeys(PIECES[1:], "sentencepiece")  # tokenizer -> the package that brings it


def tokenizer_of(language: str) -> str:
    """sacrebleu's tokenizer for BLEU: by characters where a script puts no spaces between words, as `zh` does it."""
    return OWN.get(language) or ("char" if UNSPACED & {*languages.get(language).scripts} else "13a")


def check_tokenizer(language: str, name: str) -> None:
    """BadInput for a tokenizer that there is not, or that is wrong for the language's script."""
    from sacrebleu.metrics import BLEU

    if name not in BLEU.TOKENIZERS:
        known = ", ".join(BLEU.TOKENIZERS)
        raise BadInput(
            f"--tokenize {language}={name}: there is no such tokenizer{nearest(name, BLEU.TOKENIZERS)}; give {known}."
        )
    fits = not UNSPACED & {*languages.get(language).scripts} or name in (*PIECES, OWN.get(language))
    if not fits or (name in OWN.values() and name != OWN.get(language)):
        own = tokenizer_of(language)
        raise BadInput(f"--tokenize {language}={name}: it does not know where a word ends in {language}; give {own}.")


SENTENCE_MEANS = {"bleu_sentence": "bleu", "chrf_sentence": "chrf", "comet": "comet"}  # column -> the sentences' own


class Metrics:
    """BLEU and chrF++ for a language. tokenize: in place of its own tokenizer.

    blank: why there is no BLEU, where its own tokenizer cannot be had; chrF++ needs none. BadInput where the
    tokenizer that was asked for is missing.
    """

    def __init__(self, language: str, tokenize: str | None = None):
        from sacrebleu.metrics import BLEU, CHRF

        if tokenize is not None:
            check_tokenizer(language, tokenize)
        name = tokenize or tokenizer_of(language)
        self._bleu, self._sentence, self.blank = None, None, ""
        try:
            bleu, sentence = BLEU(tokenize=name), BLEU(tokenize=name, effective_order=True)
            bleu.corpus_score(["a"], [["a"]])  # some load what they need at the first text
            self._bleu, self._sentence = bleu, sentence
        except Exception as error:  # sacrebleu and the tokenizers' libraries raise many kinds
            cause = " ".join(str(error).split())[:120]
            package = PACKAGES.get(name, "'sacrebleu[ja,ko]'")
            self.blank = (
                f"BLEU cannot be had for {language} with the tokenizer {name} ({cause}): "
                f"`pip install {package}`, or --tokenize {language}=char"
            )
            if tokenize is not None:
                raise BadInput(f"{self.blank}.") from None
        self._chrf = CHRF(word_order=2)

    def corpus(self, texts: list[str], references: list[str]) -> dict[str, float | None]:
        metrics = {"bleu": self._bleu, "chrf": self._chrf}
        return {kind: metric and metric.corpus_score(texts, [references]).score for kind, metric in metrics.items()}

    def sentence(self, text: str, reference: str) -> dict[str, float | None]:
        metrics = {"bleu": self._sentence, "chrf": self._chrf}
        return {kind: metric and metric.sentence_score(text, [reference]).score for kind, metric in metrics.items()}

    def corpus_metrics(self) -> dict[str, Any]:
        """sacrebleu's own metrics, for its tests."""
        return {kind: metric for kind, metric in (("bleu", self._bleu), ("chrf", self._chrf)) if metric}

    def signatures(self) -> dict[str, str]:
        known = {kind: str(metric.get_signature()) for kind, metric in self.corpus_metrics().items()}
        return known | ({"blank": self.blank} if self.blank else {})


def scored(
    segments: Iterable[Mapping[str, Any]],
    candidates: Mapping[str, Mapping[tuple[str, str], str]],
    tokenize: Mapping[str, str] | None = None,
    comet: Mapping[tuple[str, str, str], float] | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, dict[str, str]]]:
    """(scores per translator and pair, scores per sentence, sacrebleu's signatures per pair).

    segments: rows of `data.sets.wmt.SEGMENT`. candidates: translator -> (id, lp) -> translation.
    comet: (translator, id, lp) -> a score of 0..100.
    """
    scores, sentences, signatures = [], [], {}
    for lp, rows in by_pair(segments).items():
        language, references = rows[0]["language"], [row["reference"] for row in rows]
        metrics = Metrics(language, (tokenize or {}).get(language))
        for name, texts in sorted(candidates.items()):
            translations = [texts.get((row["id"], lp), "") for row in rows]
            missing = sum(not text for text in translations)
            score = {"translator": name, "lp": lp, "language": language, "segments": len(rows), "missing": missing}
            if missing == len(rows):
                scores.append(score | dict.fromkeys(KINDS))
                continue
            pairs = zip(translations, references, strict=True)
            scored_sentences = [metrics.sentence(text, reference) for text, reference in pairs]
            if comet is not None:
                for row, sentence in zip(rows, scored_sentences, strict=True):
                    sentence["comet"] = comet[name, row["id"], lp]
            means = {column: _mean(scored_sentences, kind) for column, kind in SENTENCE_MEANS.items()}
            scores.append(score | metrics.corpus(translations, references) | means)
            for row, one in zip(rows, scored_sentences, strict=True):
                sentences.append({"id": row["id"], "lp": lp, "language": language, "translator": name} | one)
        signatures[lp] = metrics.signatures()
    return scores, sentences, signatures


def _mean(rows: Iterable[Mapping[str, float | None]], kind: str) -> float | None:
    """Of the values that there are; None where there is none."""
    known = [row[kind] for row in rows if row.get(kind) is not None]
    return fmean(known) if known else None


def by_pair(segments: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Language pair -> its segments; both in order."""
    pairs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in segments:
        pairs[row["lp"]].append(row)
    return {lp: sorted(pairs[lp], key=lambda row: row["id"]) for lp in sorted(pairs)}


def averages(scores: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A translator's means over all pairs; `imputed` names the pairs for which it has none of its own."""
    table = {(row["translator"], row["lp"]): row for row in scores}
    names, pairs = (sorted({key[index] for key in table}) for index in (0, 1))
    rows = []
    for name in names:
        means: dict[str, Any] = {"translator": name, "imputed": []}
        means["imputed"] = [lp for lp in pairs if table[name, lp]["chrf"] is None]
        for kind in KINDS:
            means[kind] = _mean([{kind: _value(table, name, lp, kind, names)} for lp in pairs], kind)
        rows.append(means)
    return rows


def _value(table: Mapping, name: str, lp: str, kind: str, names: list[str]) -> float | None:
    value = table[name, lp][kind]
    return value if value is not None else _mean([table[other, lp] for other in names], kind)


def best(scores: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Pair -> the translator with the highest mean of corpus BLEU and chrF++ (the latter alone where there is no BLEU);
    equal ones by name."""
    highest: dict[str, tuple[float, str]] = {}
    for row in sorted(scores, key=lambda row: row["translator"]):
        if row["chrf"] is not None:
            mean = fmean(score for score in (row["bleu"], row["chrf"]) if score is not None)
            if row["lp"] not in highest or mean > highest[row["lp"]][0]:
                highest[row["lp"]] = (mean, row["translator"])
    return {lp: name for lp, (_, name) in sorted(highest.items())}
