"""The dataset card of an output folder: a README.md that the Hugging Face Hub can show, too."""

import json

from sp3f_verl.data.schemas import key


def card(out) -> str:
    """Markdown of an `output.Output` whose files are written."""
    languages = sorted({code for counts in out.rows.values() for code in counts if code != "all"})
    head = [
        "---",
        f"tags: [sp3f-verl, {out.step}]",
        *([f"language: {json.dumps(languages)}"] if languages else []),
        "---",
    ]
    lines = [*head, "", f"# Output of the data step `{out.step}`", "", "| file | rows | of which |", "|---|---|---|"]
    for name, counts in out.rows.items():
        told = ", ".join(f"{code} {count}" for code, count in counts.items() if code != "all")
        lines.append(f"| `{name}.parquet` | {sum(counts.values())} | {told} |")
    lines += [f"| `{name}` | | |" for name, schema in out.files.items() if schema is None]
    for name, schema in out.files.items():
        if schema is not None:
            lines += ["", f"## Columns of `{name}`", "", "| column | type | every row |", "|---|---|---|"]
            lines += [f"| `{each.name}` | {each.type} | {'no' if each.nullable else 'yes'} |" for each in schema]
            lines += (
                ["", f"A row is identified by {' and '.join(f'`{each}`' for each in key(schema))}."]
                if key(schema)
                else []
            )
    lines += [
        "",
        "## How it was made",
        "",
        f"Settings: `{json.dumps(out.settings, ensure_ascii=False, sort_keys=True)}`",
    ]
    lines += [f"Models: {', '.join(out.models)}"] if out.models else []
    if out.drops:
        lines += ["", "| left out because | rows |", "|---|---|"]
        lines += [f"| {reason} | {count} |" for reason, count in sorted(out.drops.items())]
    return "\n".join([*lines, "", "Inputs, hashes and versions stand in `manifest.json`."]) + "\n"
