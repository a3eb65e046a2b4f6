"""`Settings.read`: what does not fit is one sentence that names the place, whatever is given."""

from typing import Annotated, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field, field_validator, model_validator

from sp3f_verl.errors import BadInput
from sp3f_verl.settings import Flag, Number, Settings, Text, Whole, mend

PLACE = "sp3f.judge"


class Transcript(Settings):
    path: Text | None = None
    share: Annotated[Number, Field(ge=0, le=1), mend("set it to a share from 0 to 1")] = 0.0


class Member(Settings):
    name: Text
    weight: Annotated[Number, Field(gt=0)] = 1.0


class Judge(Settings):
    schedule: Literal["all_pairs", "swiss"] = "all_pairs"
    depth: Literal["low", "high"] | None = None
    rounds: Annotated[Whole, Field(ge=1)] = 1
    privileged: Flag = False
    panel: tuple[Member, ...] = ()
    headers: dict[str, Text] = Field(default_factory=dict)
    transcript: Transcript = Transcript()
    price: Number | Transcript | None = None

    @field_validator("rounds")
    @classmethod
    def _odd(cls, rounds: int) -> int:
        if rounds == 13:
            raise ValueError("brings no luck; choose another.")
        return rounds

    @model_validator(mode="after")
    def _together(self):
        if self.privileged and self.schedule == "swiss":
            raise BadInput("sp3f.judge.privileged=true does not go with schedule=swiss; leave one out.")
        return self


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([1], "sp3f.judge=[1] is not a mapping; write sp3f.judge={name: value}."),
        ({"rouns": 1}, "sp3f.judge.rouns does not exist (did you mean 'rounds'?); remove it or rename it."),
        ({"rounds": 0}, "sp3f.judge.rounds=0: input should be greater than or equal to 1; mend it."),
        ({"rounds": True}, "sp3f.judge.rounds=True is not a whole number; give one."),
        ({"rounds": "1"}, "sp3f.judge.rounds='1' is not a whole number; give one."),
        ({"rounds": 1.5}, "sp3f.judge.rounds=1.5 is not a whole number; give one."),
        ({"rounds": 13}, "sp3f.judge.rounds=13 brings no luck; choose another."),
        ({"privileged": "yes"}, "sp3f.judge.privileged='yes' is neither true nor false; give one of them."),
        ({"schedule": "swis"}, "sp3f.judge.schedule=swis (did you mean 'swiss'?); it is one of all_pairs, swiss."),
        ({"depth": "hgh"}, "sp3f.judge.depth=hgh (did you mean 'high'?); it is one of low, high."),
        ({"transcript": {"share": 2}}, "sp3f.judge.transcript.share=2; set it to a share from 0 to 1."),
        ({"transcript": {"share": None}}, "sp3f.judge.transcript.share is null; set it to a share from 0 to 1."),
        ({"transcript": {"pat": "x"}}, "sp3f.judge.transcript.pat does not exist (did you mean 'path'?)"),
        ({"transcript": 3}, "sp3f.judge.transcript=3 is not a mapping; write sp3f.judge.transcript={name: value}."),
        ({"panel": 3}, "sp3f.judge.panel=3 is not a list; write sp3f.judge.panel=[value]."),
        ({"panel": [{"name": "a"}, {"weight": 1}]}, "sp3f.judge.panel[1].name is missing; give it a value."),
        ({"panel": [{"name": "a", "weigt": 1}]}, "sp3f.judge.panel[0].weigt does not exist (did you mean 'weight'?)"),
        ({"headers": {"a": [1]}}, "sp3f.judge.headers.a=[1] is not a text; give one."),
        ({3: 1}, "sp3f.judge.3 does not exist"),
        ({"a\nb": 1}, "sp3f.judge.a b does not exist"),
        ({"schedule": "a\nb"}, "sp3f.judge.schedule=a b; it is one of"),
        ({"rounds": 10**400}, None),
        ({"transcript": {"share": 10**400}}, "sp3f.judge.transcript.share=1000"),
        ({"headers": {"a": "x" * 10_000, "b": ["y" * 10_000]}}, "…"),
        ({"privileged": True, "schedule": "swiss"}, "sp3f.judge.privileged=true does not go with schedule=swiss;"),
    ],
)
def test_the_sentences(values, sentence):
    if sentence is None:
        assert Judge.read(values, PLACE).rounds == values["rounds"]
        return
    with pytest.raises(BadInput) as caught:
        Judge.read(values, PLACE)
    assert sentence in str(caught.value) and len(str(caught.value)) < 400


def test_what_fits_is_read_and_stays():
    judge = Judge.read({"rounds": 3.0, "panel": [{"name": 7, "weight": 2}], "headers": {"a": 1.5}}, PLACE)
    assert (judge.rounds, judge.panel[0].name, judge.panel[0].weight, judge.headers) == (3, "7", 2.0, {"a": "1.5"})
    with pytest.raises(ValueError):
        judge.rounds = 4


NAMES = st.sampled_from([*Judge.model_fields, *Member.model_fields, *Transcript.model_fields]) | st.text(max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(
            NAMES | st.integers() | st.none() | st.booleans() | st.tuples(st.integers()), inner, max_size=4
        )
    ),
    max_leaves=10,
)
LOOP: dict = {}
LOOP["transcript"] = LOOP


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4) | VALUES)
@example(LOOP)
@example({"rounds": 10**5000})
@example({"transcript": {"share": -(10**5000)}})
def test_whatever_is_given_there_are_settings_or_one_sentence_that_names_the_place(values):
    try:
        assert isinstance(Judge.read(values, PLACE), Judge)
    except BadInput as error:
        text = str(error)
        assert text.startswith(PLACE) and text.endswith((".", ";")) and len(text.splitlines()) == 1
