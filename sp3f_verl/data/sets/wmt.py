"""WMT24++ as rows with ids: the same id in every language, sources flagged as bad left out, the same segments in all.

A file of the set (`en-de_DE.jsonl`) has lp, domain, document_id, segment_id, is_bad_source, source, target.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl import languages
from sp3f_verl.data.rows import draw_rank, id_of, is_nan, row_id, text_of
from sp3f_verl.data.schemas import NUMBER, TEXT, WHOLE, make_schema
from sp3f_verl.data.tables import open_file
from sp3f_verl.errors import BadInput

HUB = "google/wmt24pp"
COLUMNS = ("lp", "document_id", "segment_id", "is_bad_source", "source", "target")
# `id` names the segment, in all languages; lp is the language pair, as two locales may have one language.
SEGMENT = make_schema(
    "id,lp",
    {"id": TEXT, "lp": TEXT, "language": TEXT, "source": TEXT, "reference": TEXT},
    {"domain": TEXT, "document_id": TEXT, "segment_id": TEXT, "place": WHOLE},
)
TRANSLATION = make_schema("id,lp", {"id": TEXT, "lp": TEXT, "language": TEXT, "status": TEXT}, {"translation": TEXT})
# Of a translator: corpus scores and means of sentence scores; scores are null where it has nothing in the pair.
KINDS = ("bleu", "chrf", "bleu_sentence", "chrf_sentence", "comet")
ALL = "all"  # for a language pair: over all of them
_NAMES = {"translator": TEXT, "lp": TEXT, "language": TEXT}
SCORE = make_schema("translator,lp", {**_NAMES, "segments": WHOLE, "missing": WHOLE}, dict.fromkeys(KINDS, NUMBER))
SENTENCE = make_schema("translator,lp,id", {**_NAMES, "id": TEXT, "chrf": NUMBER}, {"bleu": NUMBER, "comet": NUMBER})
# A translator minus the baseline; an interval only of means of sentence scores.
TEST = make_schema(
    "translator,lp,metric",
    {"translator": TEXT, "lp": TEXT, "metric": TEXT, "baseline": TEXT, "segments": WHOLE, "difference": NUMBER},
    {"low": NUMBER, "high": NUMBER, "p": NUMBER},
)
AVERAGE = make_schema("translator", {"translator": TEXT, "imputed": pa.list_(TEXT)}, dict.fromkeys(KINDS, NUMBER))


@dataclass
class Segments:
    rows: list[dict[str, Any]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def from_hub(pair: str) -> Path:
    """The set's file of a pair such as en-de_DE, in the Hub's own cache. BadInput where it cannot be had."""
    from huggingface_hub import hf_hub_download

    mend = f"download {pair}.jsonl elsewhere and give it as --input"
    try:
        return Path(hf_hub_download(HUB, f"{pair}.jsonl", repo_type="dataset"))
    except Exception as error:  # of the network, the Hub or the name: no common class
        cause = " ".join(str(error).split())[:120].rstrip(".")
        raise BadInput(f"{pair} cannot be had from {HUB} ({cause}); {mend}.") from None


def locale_of(lp: str) -> str:
    """de_DE of en-de_DE."""
    return lp.partition("-")[2]


def language_of(lp: str) -> str:
    """The code of en-de_DE's target: that of the table whose locale it is, else what stands before the underscore."""
    locale = locale_of(lp)
    code = locale.partition("_")[0]
    same = [language.code for language in languages.all_languages() if language.locale == locale]
    return languages.get(code if code in same or not same else same[0]).code


def read_segments(
    paths: Iterable[Path], first: int | None = None, sample: int | None = None, seed: int = 1
) -> Segments:
    """The segments that every file has: all, the first so many in the set's own order, or a seeded sample.

    BadInput where a column is missing, a segment comes twice, its source differs between files, or none is left.
    """
    segments, by_id, sources = Segments(), defaultdict(dict), {}
    for path in paths:
        file = open_file(path)
        file.require(COLUMNS, "give a file of WMT24++")
        for number, row in file.rows({*COLUMNS, "domain"}):
            _take(row, file.place(number), segments, by_id, sources)
    pairs = {lp for rows in by_id.values() for lp in rows}
    whole = {ident: rows for ident, rows in by_id.items() if set(rows) == pairs}
    segments.dropped["not_in_every_language"] += sum(len(rows) for ident, rows in by_id.items() if ident not in whole)
    ordered = sorted(whole, key=lambda ident: (_order(next(iter(whole[ident].values()))), ident))
    places = {ident: number for number, ident in enumerate(ordered)}
    kept = ordered[:first] if sample is None else sorted(ordered, key=lambda ident: draw_rank(seed, ident))[:sample]
    segments.dropped["not_drawn"] += (len(ordered) - len(kept)) * len(pairs)
    segments.rows = [row | {"place": places[ident]} for ident in kept for row in whole[ident].values()]
    segments.dropped = +segments.dropped
    if not segments.rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in segments.dropped.items()) or "no rows"
        raise BadInput(f"no segment is left ({reasons}); give files that have segments in common.")
    return segments


def _take(row: dict, where: str, segments: Segments, by_id: dict, sources: dict) -> None:
    if row["is_bad_source"] not in (False, True, 0, 1):
        raise BadInput(f"{where}: is_bad_source is {row['is_bad_source']!r}; it is true or false.")
    if not isinstance(row["lp"], str) or "-" not in row["lp"]:
        raise BadInput(f"{where}: lp is {row['lp']!r}; it is a pair such as en-de_DE.")
    try:
        language = language_of(row["lp"])
    except languages.UnknownLanguage:
        segments.dropped[f"{row['lp']}: the table has no such language"] += 1
        return
    texts = {name: row[name].strip() if isinstance(row[name], str) else "" for name in ("source", "target")}
    reason = "bad_source" if row["is_bad_source"] else None
    reason = reason or (None if all(texts.values()) else "empty")
    if reason:
        segments.dropped[reason] += 1
        return
    document, segment = (id_of(row[name], where) for name in ("document_id", "segment_id"))
    if document is None or segment is None:
        segments.dropped["no_document_id" if document is None else "no_segment_id"] += 1
        return
    domain = None if is_nan(row.get("domain")) else row.get("domain")
    ident = row_id("wmt24pp", [document, segment])
    if row["lp"] in by_id[ident]:
        raise BadInput(f"{where}: segment {segment} of {document} stands in {row['lp']} twice; give each file once.")
    if sources.setdefault(ident, texts["source"]) != texts["source"]:
        raise BadInput(
            f"{where}: segment {segment} of {document} has another source than in an earlier file; mend one."
        )
    by_id[ident][row["lp"]] = {
        "id": ident,
        "lp": row["lp"],
        "language": language,
        "source": texts["source"],
        "reference": texts["target"],
        "domain": domain if isinstance(domain, str) or domain is None else text_of(domain, f"{where}: 'domain'"),
        "document_id": document,
        "segment_id": segment,
    }


def _order(row: dict) -> tuple[int, str]:
    """The set numbers its segments through."""
    number = row["segment_id"]
    return (int(number), row["document_id"]) if number.isdigit() else (1 << 60, f"{row['document_id']} {number}")
