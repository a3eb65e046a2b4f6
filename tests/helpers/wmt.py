"""Segments as WMT24++ has them, and the comparing step on them."""

import json

from data_prep import wmt

GERMAN = [f"Das ist der Satz Nummer {n} über ein Haus am See." for n in range(8)]


def segment(lp, n, **more):
    target = GERMAN[n] if lp == "en-de_DE" else f"これは {n} 番目の文です。"
    row = {"lp": lp, "domain": "news", "document_id": f"doc{n // 3}", "segment_id": n + 1, "is_bad_source": False}
    return row | {"source": f"This is sentence {n} on a house.\nAnd more.", "target": target} | more


def lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def compare(tmp_path, output, candidates, *more):
    named = [f"{name}={path}" for name, path in candidates.items()]
    words = ["--segments", str(tmp_path / "wmt" / "segments.parquet"), "--candidates", *named]
    return wmt.main(["compare", *words, "--output", str(output), *more])
