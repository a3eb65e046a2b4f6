"""How good translators are: BLEU and chrF++ against references by sacrebleu, corpus and sentence level, never mixed.

A segment that a translator lacks is scored as an empty translation, and counted. A language that it has nothing in is
no score; for the overall average it is imputed by the mean of the others there, and marked.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sp3f_verl import languages
from sp3f_verl.data.sets.wmt import KINDS
from sp3f_verl.errors import BadInput

TOKENIZERS = {"ja": "ja-mecab", "zh": "zh", "ko": "ko-mecab"}  # of BLEU; 13a for the others
UNSPACED = {"Thai", "Lao", "Khmer", "Myanmar", "Tibetan"}  # scripts in which 13a takes a sentence for one word


def tokenizer_of(language: str) -> str:
    """sacrebleu's tokenizer for BLEU: by characters where a script puts no spaces between words, as `zh` does it."""
    return TOKENIZERS.get(language) or ("char" if UNSPACED & {*languages.get(language).scripts} else "13a")


# tokenizer -> the package that brings it
PACKAGES = {"flores101": "sentencepiece", "flores200": "sentencepiece", "spm": "sentencepiece"}


class Metrics:
    """BLEU and chrF++ for a language. BadInput where sacrebleu is missing, or its tokenizer for the language."""

    def __init__(self, language: str, tokenize: str | None = None):
        try:
            from sacrebleu.metrics import BLEU, CHRF
        except ImportError:
            raise BadInput("sacrebleu is not installed: `pip install 'sacrebleu[ja,ko]'`, and start again.") from None
        name = tokenize or tokenizer_of(language)
        try:
            self._bleu, self._sentence = BLEU(tokenize=name), BLEU(tokenize=name, effective_order=True)
            self._bleu.corpus_score(["a"], [["a"]])  # some load what they need at the first text
        except Exception as error:  # sacrebleu and the tokenizers' libraries raise many kinds
            cause = " ".join(str(error).split())[:120]
            package = PACKAGES.get(name, "'sacrebleu[ja,ko]'")
            raise BadInput(
                f"BLEU cannot be had for {language} with the tokenizer {name} ({cause}): "
                f"`pip install {package}`, or --tokenize {language}=char."
            ) from None
        self._chrf = CHRF(word_order=2)

    def corpus(self, texts: list[str], references: list[str]) -> dict[str, float]:
        bleu, chrf = (metric.corpus_score(texts, [references]).score for metric in (self._bleu, self._chrf))
        return {"bleu": bleu, "chrf": chrf}

    def sentence(self, text: str, reference: str) -> dict[str, float]:
        bleu, chrf = (metric.sentence_score(text, [reference]).score for metric in (self._sentence, self._chrf))
        return {"bleu": bleu, "chrf": chrf}

    def corpus_metrics(self) -> dict[str, Any]:
        """sacrebleu's own metrics, for its tests."""
        return {"bleu": self._bleu, "chrf": self._chrf}

    def signatures(self) -> dict[str, str]:
        return {"bleu": str(self._bleu.get_signature()), "chrf": str(self._chrf.get_signature())}


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
            means = {f"{kind}_sentence": _mean([one[kind] for one in scored_sentences]) for kind in ("bleu", "chrf")}
            means["comet"] = None
            if comet is not None:
                for row, sentence in zip(rows, scored_sentences, strict=True):
                    sentence["comet"] = comet[name, row["id"], lp]
                means["comet"] = _mean([sentence["comet"] for sentence in scored_sentences])
            scores.append(score | metrics.corpus(translations, references) | means)
            for row, one in zip(rows, scored_sentences, strict=True):
                sentences.append({"id": row["id"], "lp": lp, "language": language, "translator": name} | one)
        signatures[lp] = metrics.signatures()
    return scores, sentences, signatures


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


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
        means["imputed"] = [lp for lp in pairs if table[name, lp]["bleu"] is None]
        for kind in KINDS:
            values = [_value(table, name, lp, kind, names) for lp in pairs]
            known = [value for value in values if value is not None]
            means[kind] = sum(known) / len(known) if known else None
        rows.append(means)
    return rows


def _value(table: Mapping, name: str, lp: str, kind: str, names: list[str]) -> float | None:
    value = table[name, lp][kind]
    others = [table[other, lp][kind] for other in names if table[other, lp][kind] is not None]
    return value if value is not None else _mean(others) if others else None


def best(scores: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Pair -> the translator with the highest mean of corpus BLEU and chrF++; equal ones by name."""
    highest: dict[str, tuple[float, str]] = {}
    for row in sorted(scores, key=lambda row: row["translator"]):
        if row["bleu"] is not None:
            mean = (row["bleu"] + row["chrf"]) / 2
            if row["lp"] not in highest or mean > highest[row["lp"]][0]:
                highest[row["lp"]] = (mean, row["translator"])
    return {lp: name for lp, (_, name) in sorted(highest.items())}
