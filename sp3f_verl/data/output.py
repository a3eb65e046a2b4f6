"""The folder that a data step writes: its files, a manifest of how they came about, and a card; whole or not there.

with Output(folder, "croco", settings, inputs) as out:
    out.write("pairs", rows, PREFERENCE)
    out.drop("no_margin", 3)          # counted in manifest and card, and printed at the end

Files are written into a hidden folder and moved to their places when the step is through, the manifest last: a step
that fails or is killed leaves nothing that looks like data. The same inputs and settings give the same bytes.
"""

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from sp3f_verl.boundary import exit_status
from sp3f_verl.data.files import check_file, check_folder, digest, write_text
from sp3f_verl.data.manifest import Manifest
from sp3f_verl.data.resume import Work, differences
from sp3f_verl.data.schemas import key
from sp3f_verl.data.tables import as_batches
from sp3f_verl.data.tables.writer import Writer, open_writer
from sp3f_verl.errors import BadInput, one_line
from sp3f_verl.ranges import check_ranges

CARD, REPORT = "README.md", "report.md"
_WORK = ".partial"  # folder of the files until the step is through


class AlreadyDone(Exception):
    """The folder holds the whole output of the same run. The message says so; it is no failure."""


class Output:
    """One run of a step.

    Its identity is the step, the settings (JSON values) and the content of inputs and prompts; `models` and `packages`
    (beside sp3f-verl and pyarrow) are told in the manifest. Entering raises BadInput where the folder holds anything
    else, and AlreadyDone where it holds this.
    """

    def __init__(
        self,
        folder: Path | str,
        step: str,
        settings: Mapping[str, Any],
        inputs: Iterable[Path | str] = (),
        *,
        models: Iterable[str] = (),
        prompts: Iterable[Path] = (),
        packages: Sequence[str] = (),
    ):
        self.folder, self.step, self.settings = Path(folder), step, json.loads(json.dumps(dict(settings)))
        self._inputs, self._prompts = [Path(path) for path in inputs], [Path(path) for path in prompts]
        self.models, self.packages = list(models), ("sp3f-verl", "pyarrow", *packages)
        self.drops: Counter[str] = Counter()
        self.rows: dict[str, dict[str, int]] = {}
        self.notes: dict[str, Any] = {}
        self._files: dict[str, pa.Schema | None] = {}

    def write(self, name: str, rows: Iterable[dict | pa.RecordBatch | pa.Table], schema: pa.Schema) -> int:
        """Writes `<name>.parquet` from dicts, or from batches of columns, in the order of the schema's key."""
        with self.writer(name, schema) as writer:
            for batch in as_batches(rows, schema, f"{name}.parquet"):
                writer.write(batch)
        return writer.written.rows

    @contextlib.contextmanager
    def writer(self, name: str, schema: pa.Schema, compression: str = "snappy") -> Iterator[Writer]:
        """`write` for a step that fills several files in one go: `writer.write(batch)`."""
        with open_writer(self.path(f"{name}.parquet"), schema, compression) as writer:
            yield writer
        self.rows[name] = dict(sorted(writer.written.languages.items())) or {"all": writer.written.rows}
        self._files[f"{name}.parquet"] = schema

    def write_text(self, name: str, text: str) -> None:
        """Writes a file of another kind, such as a layout that is no parquet or a report."""
        write_text(text, self.path(name))
        self._files[name] = None

    def drop(self, reason: str, n: int = 1) -> None:
        """Counts rows that were left out."""
        self.drops[reason] += n

    def refuse(self, what: str) -> NoReturn:
        """BadInput for a step that lost all its rows: nothing is written, and the same command asks again."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.drops.most_common()) or "no rows"
        raise BadInput(f"{what} ({reasons}); mend the cause and start again.")

    def note(self, name: str, value: Any) -> None:
        """Adds a fact to the manifest under `notes`, such as a cost."""
        self.notes[name] = value

    def path(self, name: str) -> Path:
        """Where a file is until the step is through."""
        return self.folder / _WORK / name

    def __enter__(self) -> "Output":
        for path in (*self._inputs, *self._prompts):
            check_file(path)
        self.inputs = {str(path): digest(path) for path in self._inputs}
        self.prompts = {path.name: digest(path)[:16] for path in self._prompts}
        self._work = Work(self.path("run.json"), self.manifest({}).identity())
        self._check_folder()
        self._is_new = not self.folder.exists()
        self.path("").mkdir(parents=True, exist_ok=True)
        self._lock = open(self.path(".lock"), "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise BadInput(f"{self.folder} is being written by another process; name another --output.") from None
        for stale in self.path("").iterdir():
            if stale.name != ".lock":
                shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        self._work.begin()
        return self

    def _check_folder(self) -> None:
        check_folder(self.folder)
        manifest = Manifest.read(self.folder)
        if manifest is not None:
            if difference := _difference(manifest.identity(), self._work.identity):
                raise BadInput(f"{self.folder} holds the output of another run ({difference}); name another --output.")
            # a report is no data, and `sp3f report` writes it again
            data = {name: kept for name, kept in manifest.outputs.items() if name != REPORT}
            changed = [name for name, kept in data.items() if _digest(self.folder / name) != kept]
            if changed:
                raise BadInput(f"{self.folder}/{changed[0]} is not what its manifest tells; name another --output.")
            raise AlreadyDone(f"{self.folder} is already done: {', '.join(manifest.outputs)}")
        if self._work.begun:
            return  # this run, killed while its files were moved to their places
        strange = sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []
        strange = [name for name in strange if not name.startswith(".")]
        if strange:
            raise BadInput(f"{self.folder} holds {strange[0]!r}, which is not of this run; name another --output.")

    def __exit__(self, kind, error, trace) -> None:
        done = False
        try:
            if kind is None:
                if self.rows and not any(sum(counts.values()) for counts in self.rows.values()):
                    self.refuse("not one row is left")
                for name in self._files:
                    (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(self.path(name), self.folder / name)
                write_text(card(self), self.folder / CARD)
                self.manifest({name: digest(self.folder / name) for name in self._files}).write(self.folder)
                done = True
                for reason, count in sorted((+self.drops).items()):
                    print(f"{count} left out: {reason}")
        finally:
            shutil.rmtree(self.path(""))
            self._lock.close()
            if not done and self._is_new:
                with contextlib.suppress(OSError):  # something else was put there
                    self.folder.rmdir()

    def manifest(self, outputs: dict[str, str]) -> Manifest:
        return Manifest(
            step=self.step,
            inputs=self.inputs,
            settings=self.settings,
            prompts=self.prompts,
            models=self.models,
            rows=self.rows,
            drops=dict(self.drops),
            notes=self.notes,
            versions={name: _version(name) for name in self.packages},
            outputs=outputs,
        )

    @property
    def files(self) -> Mapping[str, pa.Schema | None]:
        """Name -> schema of what was written, None for files that are no parquet."""
        return self._files


def card(out: Output) -> str:
    """The dataset card of an output whose files are written, as Markdown that the Hugging Face Hub can show, too."""
    languages = sorted({code for counts in out.rows.values() for code in counts if code != "all"})
    head = [
        "---",
        f"tags: [sp3f-verl, {out.step}]",
        *([f"language: {json.dumps(languages)}"] if languages else []),
        "---",
    ]
    lines = [*head, "", f"# Output of the data step `{out.step}`", "", "| file | rows | of which |", "|---|---|---|"]
    for name, counts in out.rows.items():
        by_language = ", ".join(f"{code} {count}" for code, count in counts.items() if code != "all")
        lines.append(f"| `{name}.parquet` | {sum(counts.values())} | {by_language} |")
    lines += [f"| `{name}` | | |" for name, schema in out.files.items() if schema is None]
    for name, schema in out.files.items():
        if schema is not None:
            lines += ["", f"## Columns of `{name}`", "", "| column | type | every row |", "|---|---|---|"]
            lines += [f"| `{field.name}` | {field.type} | {'no' if field.nullable else 'yes'} |" for field in schema]
            if columns := " and ".join(f"`{column}`" for column in key(schema)):
                lines += ["", f"A row is identified by {columns}."]
    lines += [
        "",
        "## How it was made",
        "",
        f"Settings: {code(json.dumps(out.settings, ensure_ascii=False, sort_keys=True))}",
    ]
    lines += [f"Models: {', '.join(map(code, out.models))}"] if out.models else []
    if out.drops:
        lines += ["", "| left out because | rows |", "|---|---|"]
        lines += [f"| {_cell(reason)} | {count} |" for reason, count in sorted(out.drops.items())]
    return "\n".join([*lines, "", "Inputs, hashes and versions stand in `manifest.json`."]) + "\n"


def code(text: str) -> str:
    """A text of another hand, a model's name say, as Markdown's code: no markup in it does anything."""
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{ticks}{pad}{one_line(text, None)}{pad}{ticks}"


def run_step(name: str, do: Callable[[argparse.Namespace], int | None], options: argparse.Namespace) -> int:
    """The exit status of a step's `main`: 0 where it is done, or was; see `boundary.exit_status` for what else."""

    def check_and_do() -> int | None:
        check_ranges(options)
        try:
            return do(options)
        except AlreadyDone as done:
            print(done)

    return exit_status(f"data_prep.{name}", check_and_do, options.debug)


def _cell(text: str) -> str:
    return one_line(text).replace("|", "/").replace("<", "&lt;")


def _difference(kept: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """The first difference of two identities, for a sentence; "" where there is none."""
    changed = differences(kept, ours)
    if "step" in changed:
        return f"step {kept['step']!r}, not {ours['step']!r}"
    for name in sorted({*kept["settings"], *ours["settings"]}) if "settings" in changed else ():
        there, here = (identity["settings"].get(name) for identity in (kept, ours))
        if there != here:
            return f"{name} is {there!r} there, {here!r} here"
    return next((f"other {name}" for name in changed), "")


def _digest(path: Path) -> str | None:
    return digest(path) if path.is_file() else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
