"""The quickstart's last stage: greedy and sampled answers of a checkpoint to a held-out split, measured by language.

It measures more than `sp3f evaluate` does: accuracy whatever the format, which tells arithmetic from boxes.
"""

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from sp3f_verl.data.files import digest, read_parquet, write_json, write_text
from sp3f_verl.data.rows import canonical, field
from sp3f_verl.evaluation.benchmark_run import seed_of
from sp3f_verl.evaluation.measure import mean_by_language, measure
from sp3f_verl.llm import Ask, Totals
from sp3f_verl.llm.transformers_backend import TransformersBackend
from sp3f_verl.progress import track


@dataclass(frozen=True)
class Decoding:
    """One greedy answer, and `samples` at temperature 1, of at most `max_new_tokens`."""

    samples: int
    max_new_tokens: int
    seed: int


def evaluate(model: Path, data: Path, output: Path, decoding: Decoding) -> dict:
    """Evaluate `model` on the rows of parquet file `data`; write `output` (summary) and `output`.responses.jsonl.

    The summary holds `greedy` and `sampled`: language (and `all`, the mean of the languages) -> measure -> mean.
    """
    rows = read_parquet(data)
    languages = tuple(sorted({canonical(row)["language"] for row in rows}))
    greedy, sampled, lines = [], [], []
    answers = _answers(model, [(canonical(row)["id"], field(row, "prompt")) for row in rows], decoding)
    for row, texts in track(zip(rows, answers, strict=True), f"evaluate {data.stem}", total=len(rows)):
        language = canonical(row)["language"]
        measured = [measure(text, row, languages) for text in texts]
        greedy.append((language, measured[0]))
        sampled += [(language, each) for each in measured[1:]]
        lines.append({"id": canonical(row)["id"], "language": language, "responses": texts, "measured": measured})
    summary = {
        "model": str(model),
        "data": {"file": data.name, "sha256": digest(data), "rows": len(rows)},
        "decoding": asdict(decoding),
        "greedy": mean_by_language(greedy),
        "sampled": mean_by_language(sampled),
    }
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_text(text, output.with_suffix(".responses.jsonl"))
    write_json(summary, output)
    return summary


def _answers(model: Path, prompts: list[tuple[str, list]], decoding: Decoding) -> list[list[str]]:
    """For each (id, messages), in order: [greedy, sample 1, ..., sample n]."""
    found: dict[str, dict[int, str]] = defaultdict(dict)
    with TransformersBackend(model, totals=Totals(max_failure_share=0.0), batch=256) as backend:
        asks = [
            Ask(
                str(at),
                messages,
                decoding.max_new_tokens,
                temperature=float(number > 0),
                seed=seed_of(decoding.seed, ident),
                number=number,
            )
            for at, (ident, messages) in enumerate(prompts)
            for number in range(decoding.samples + 1)
        ]
        for answer in backend.answers(asks):
            if answer.text is None:
                raise RuntimeError(f"no answer to {prompts[int(answer.id)][0]}: {answer.said}")
            found[answer.id][answer.number] = answer.text
    return [[text for _, text in sorted(found[str(at)].items())] for at in range(len(prompts))]
