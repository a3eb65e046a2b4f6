"""docs/results/README.md, written from the data: `python -m sp3f_verl.report.papers.page`."""

import sys

from sp3f_verl.report.document.blocks import Document, Items, Section, paragraph
from sp3f_verl.report.document.markdown import markdown
from sp3f_verl.report.papers.compare import paper_document
from sp3f_verl.report.papers.load import NAMES, SOURCES

LEAD = """What the papers published, to hold a run against: `sp3f report --paper sp3f FOLDER` puts a run of
`sp3f evaluate` (or `--arena`, `--harness`) beside it and says which conditions differ.

This page is written from the data by `python -m sp3f_verl.report.papers.page > docs/results/README.md`. The data is
one YAML a paper, `sp3f.yaml`, `croco.yaml`, `tspin.yaml` and `mdpo.yaml` here (links to
`sp3f_verl/report/papers/`, so that an installed package has it too). A file has `conditions`, `notes` and `tables`;
a table has `kind` (which runs stand beside it), `unit`, `source`, `columns` and rows with a value a column, null where
the paper has none. Only numbers whose source is known are in it; where a number comes from is the table's `source`:"""


def page() -> str:
    lead = [*map(paragraph, LEAD.split("\n\n")), Items([f"{code}: {meaning}." for code, meaning in SOURCES.items()])]
    documents = [paper_document(name, []) for name in NAMES]
    sections = [Section(document.title, document.blocks) for document in documents]
    return markdown(Document("Published results", [*lead, *sections]))


if __name__ == "__main__":
    sys.stdout.write(page())
