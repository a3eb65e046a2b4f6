"""Code spans that name a file of the run become links to it."""

import os
from pathlib import Path, PurePosixPath

from sp3f_verl.report.document.inline import Link


def links(folder: Path | None, base: Path | None) -> Link:
    """For a report in `folder` and names relative to `base`. Only what lies in `base` is linked; nothing where None."""

    def link(span: str) -> str | None:
        if folder is None or base is None or not _is_inside(span, base):
            return None
        return Path(os.path.relpath(base.resolve() / span, folder.resolve())).as_posix()

    return link


def _is_inside(span: str, base: Path) -> bool:
    path = PurePosixPath(span)
    if path.is_absolute() or ".." in path.parts or len(span) > 200 or "\0" in span:
        return False
    return (base / path).exists() and "." in path.name
