"""The command `sp3f judge-check`: the judge of a run's own command line, measured before the run costs money."""

import asyncio
import random
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from sp3f_verl.data.check import check_rl
from sp3f_verl.data.files import atomic_write, read_parquet
from sp3f_verl.data.rows import canonical
from sp3f_verl.errors import BadInput
from sp3f_verl.judge import make_judge
from sp3f_verl.judge.base import JudgeStopped
from sp3f_verl.judge.check.measure import (
    ask_pairs,
    distrust,
    estimated_usd,
    label_by_accuracy,
    label_by_pairs,
    measure,
    questions_of_a_group,
)
from sp3f_verl.judge.check.pairs import LabelledPair, pairs_from_responses, pairs_from_rows
from sp3f_verl.judge.check.report import report, waits
from sp3f_verl.judge.desk import Desk
from sp3f_verl.judge.settings import JudgeSettings, Transcript
from sp3f_verl.judge.transcript import Entry, read_transcript
from sp3f_verl.progress import ProgressBar
from sp3f_verl.verl_bridge.preflight.judge import needed_fields
from sp3f_verl.verl_bridge.preflight.keys import keys
from sp3f_verl.verl_bridge.rl.judge_in_trainer import settings_of


def judge_check(
    overrides: Sequence[str], pairs: int, replay: Path | None, output: Path, seed: int
) -> tuple[str, str | None]:
    """The report, and why a judge cannot be trusted, if so.

    overrides: the arguments of the run's command line. replay: a transcript to read in place of asking.
    Raises BadInput.
    """
    config = _compose(overrides) if overrides else None
    settings = None if config is None else settings_of(config)
    if replay is not None:
        if not replay.is_file():
            raise BadInput(f"--replay {replay} does not exist; give a judge transcript.")
        check = measure(read_transcript(replay), label_by_accuracy)
        if not check.questions:
            raise BadInput(f"--replay {replay} holds no pairwise question; give a judge transcript that does.")
        return report(check, *(_cost(check, config, settings) if settings else ())), distrust(check)
    if settings is None:
        raise BadInput("judge-check needs the run's arguments; give +recipe=sp3f judge=... data.train_files=...")
    members = settings.members()
    if not members:
        raise BadInput("judge=none asks nobody; name a judge.")
    transcripts = [output, *(output.with_name(f"{output.stem}.{k}{output.suffix}") for k in range(1, len(members)))]
    for transcript in transcripts:
        if transcript.exists():
            raise BadInput(f"--output {transcript} exists; remove it, or read it with --replay.")
    labelled = _labelled_pairs(config, pairs, seed)
    parts, doubts = [], []
    for member, transcript in zip(members, transcripts, strict=True):
        judge = make_judge(member)
        if not (judge.asks_a_model and judge.asks_pairs()):
            parts.append(
                f"judge {member.name}, schedule {member.schedule}: only pairwise questions to a model are checked"
            )
            continue
        if judge.is_served_by_the_run():
            raise BadInput(f"judge={member.name} is checked on a server that runs already; set sp3f.judge.base_url.")
        with atomic_write(transcript) as partial:
            partial.unlink(missing_ok=True)  # of a check that was killed: what it paid for is in the store
            entries = asyncio.run(_ask(member, labelled, partial, seed))
        check = measure(entries, label_by_pairs(labelled))
        title = f"judge {member.name}, model {member.model or 'as served'}; every answer is in {transcript}"
        parts.append(
            "\n".join(
                filter(None, (title, report(check, *_cost(check, config, member)), _waits(check, config, member)))
            )
        )
        doubts += [f"judge {member.name}: {doubt}"] if (doubt := distrust(check)) else []
    return "\n\n".join(parts), "; ".join(doubts) or None


async def _ask(member: JudgeSettings, labelled: list[LabelledPair], transcript: Path, seed: int) -> list[Entry]:
    desk = Desk(
        member.changed(
            panel=(),
            schedule="all_pairs",  # both orders, whatever the run's own schedule
            probe="warn",  # a judge without verdicts is measured, too
            min_valid=0.0,
            on_jam="neutral",
            failure_ceiling=1.0,
            group_seconds=7 * 24 * 3600.0,  # the pairs wait for each other; each request has its own limit
            spending_file=None,
            store=member.store or str(transcript.with_suffix(".answers.sqlite")),
            transcript=Transcript(path=str(transcript), share=1.0, max_mb=0.0),
            seed=seed,
        )
    )
    try:
        await desk.open()
        with ProgressBar("pairs", len(labelled)) as bar:
            return await ask_pairs(desk, labelled, bar.advance)
    except JudgeStopped as stopped:
        raise BadInput(str(stopped)) from None
    finally:
        await desk.close()


def _compose(overrides: Sequence[str]) -> DictConfig:
    import verl

    try:
        with initialize_config_dir(version_base=None, config_dir=str(Path(verl.__file__).parent / "trainer/config")):
            config = compose("ppo_trainer", list(overrides))
    except HydraException as error:
        raise BadInput(f"the run's arguments do not compose: {' '.join(str(error).split())}") from None
    if "sp3f" not in config:
        raise BadInput("the run's arguments name no recipe with a judge; add +recipe=sp3f.")
    keys(config)
    return config


def _labelled_pairs(config: DictConfig, count: int, seed: int) -> list[LabelledPair]:
    rng, files = random.Random(seed), config.data.train_files
    files = [files] if isinstance(files, str) else list(files or [])
    rows = []
    for path in files:
        try:
            check_rl(path, needed_fields(config))
        except BadInput as error:
            raise BadInput(f"data.train_files: {error}") from None
        rows += read_parquet(Path(path).expanduser())
    rng.shuffle(rows)
    with_responses = [(canonical(row), list(row["responses"])) for row in rows if row.get("responses") is not None]
    drawn = (
        pairs_from_responses(with_responses, rng)
        if with_responses
        else pairs_from_rows(map(canonical, rows), rng, with_games=True)
    )
    pairs = list(islice(drawn, count))
    if not pairs:
        raise BadInput(
            f"data.train_files={', '.join(files) or None} gives no labelled pair; its rows need a "
            "`translated_solution` that ends in the gold answer in a box, or `responses` of which some are right and "
            "some are wrong."
        )
    return pairs


def _cost(check, config: DictConfig, settings: JudgeSettings) -> tuple:
    """(dollars, what run they are of), as `report` wants them."""
    n, prompts = config.actor_rollout_ref.rollout.n, config.data.train_batch_size
    steps = OmegaConf.select(config, "trainer.total_training_steps")
    if not steps:
        return ()
    a_group = questions_of_a_group(settings, n)
    device = "cpu" if config.sp3f.machine.torch_device == "cpu" else "gpu"  # sizes differ between them
    run = f"{steps} steps x {prompts} prompts x {a_group} questions, the sizes of device={device}"
    return estimated_usd(check, settings, steps * prompts * a_group), run


def _waits(check, config: DictConfig, settings: JudgeSettings) -> str:
    questions = config.data.train_batch_size * questions_of_a_group(settings, config.actor_rollout_ref.rollout.n)
    steps = OmegaConf.select(config, "trainer.total_training_steps")
    return waits(check, questions, settings.concurrency, steps) if steps else ""
