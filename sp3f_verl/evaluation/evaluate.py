"""`sp3f evaluate`: greedy and sampled accuracy and language fidelity of a checkpoint, per language."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.progress import track

from sp3f_verl.data.files import digest, read_parquet, write_json, write_text
from sp3f_verl.data.rows import canonical, field
from sp3f_verl.evaluation.generate import Decoding, generate
from sp3f_verl.evaluation.measure import mean_by_language, measure


def evaluate(model: Path | str, data: Path, output: Path, decoding: Decoding) -> dict:
    """Evaluate `model` on the rows of parquet file `data`; write `output` (summary) and `output`.responses.jsonl.

    The summary holds `greedy` and `sampled`: language (and `all`, the mean of the languages) -> measure -> mean.
    """
    rows = read_parquet(data)
    if not rows:
        raise ValueError(f"{data} has no rows; give a parquet file with at least one prompt.")
    languages = tuple(sorted({canonical(row)["language"] for row in rows}))
    prompts = [field(row, "prompt") for row in rows]
    greedy, sampled, lines = [], [], []
    answers = generate(model, prompts, decoding)
    for row, texts in track(zip(rows, answers, strict=True), f"evaluate {Path(data).stem}", total=len(rows)):
        language = canonical(row)["language"]
        measured = [measure(text, row, languages) for text in texts]
        greedy.append((language, measured[0]))
        sampled += [(language, each) for each in measured[1:]]
        lines.append({"id": canonical(row)["id"], "language": language, "responses": texts, "measured": measured})
    summary = {
        "model": str(model),
        "data": {"file": Path(data).name, "sha256": digest(data), "rows": len(rows)},
        "decoding": asdict(decoding),
        "greedy": mean_by_language(greedy),
        "sampled": mean_by_language(sampled),
    }
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_text(text, output.with_suffix(".responses.jsonl"))
    write_json(summary, output)
    return summary
