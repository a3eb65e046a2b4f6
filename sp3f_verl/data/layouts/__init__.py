"""Other projects' layouts of the same rows, one a file: `rows(...)` reads them, `row(...)` writes one.

| module | reads | writes |
|---|---|---|
| `sp3f` | SP3F's published training rows; yeval's translation traces | published rows |
| `croco` | CroCo's pairs and best-of-n rows (JSON lines) | the same |
| `spin` | SPIN's `real`, `generated` | the same |
| `mdpo` | the JSON list of the preference architectures | the same |
| `trl` | prompt/chosen/rejected, prompt/completion, messages | the same |
| `verl` | canonical rows | rows for RL |

Pairs are rows of schemas.PREFERENCE. A row that cannot be used is left out and told: `drop(reason)`.
"""
