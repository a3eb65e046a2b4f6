"""A translator for the stub of model_server.py: sentences of the target language that hold what the source holds."""

import hashlib
import re

from helpers.model_server import Reply

SENTENCES = {
    "Spanish": "En el pueblo una niña vende muchas flores a sus vecinos, y después vuelve contenta a casa.",
    "Swahili": "Mtoto huyu aliuza maua mengi kwa majirani wake kijijini, kisha akarudi nyumbani akiwa na furaha.",
    "Thai": "เด็กผู้หญิงคนนี้ขายดอกไม้จำนวนมากให้เพื่อนบ้านในหมู่บ้าน แล้วก็กลับบ้านอย่างมีความสุขมาก",
    "Bengali": "এই মেয়েটি গ্রামের প্রতিবেশীদের কাছে অনেক ফুল বিক্রি করে এবং তারপর আনন্দে বাড়ি ফিরে যায়।",
    "English": "In the village a girl sells many flowers to her neighbours, and then goes home happily.",
}
_ASKED = re.compile(r"from (\w+)[^\n]* to (\w+)[^\n]*\.\n\n([0-9a-f]{24})\n(.*)\n\3\Z", re.DOTALL)
# What stands beside a number is part of it: a minus, a percent, a word that multiplies.
_BESIDE = r"(?:%| ?(?:percent|hundred|thousand|million|billion)(?![a-z]))?"
_KEPT = re.compile(rf"⟦\d+⟧|(?:(?<=[\s(])-)?\d+(?:[.,]\d+)*{_BESIDE}|[{{}}]|\$(?!\s?\d)")
FAULTS = ("refused", "truncated", "no_translation", "placeholder_lost", "numbers", "off_language", "length")


def asked(body) -> tuple[str, str, str]:
    """(from, to, text) of a request."""
    match = _ASKED.search(body["messages"][-1]["content"])
    return match[1], match[2], match[4]


def translated(text: str, target: str) -> str:
    """As long as the text, with its placeholders, numbers and marks in their order; a question where it is one."""
    words = SENTENCES[target].split(" ")
    kept = " ".join(_KEPT.findall(text))
    filler = words[:]
    while len("".join(filler)) < len(text) - len(kept):
        filler += words
    asks = "?" if text.rstrip().endswith("?") else ""
    return " ".join([" ".join(filler), kept]).strip() + asks


def fault_of(body, share: int = 50) -> str:
    """The fault of a request, "" for none; `share` percent have one. The same for the same request."""
    draw = hashlib.sha256(f"{asked(body)}{body.get('seed')}".encode()).digest()
    return FAULTS[draw[1] % len(FAULTS)] if draw[0] * 100 < share * 256 else ""


def reply(body, share: int = 0) -> Reply:
    _, target, text = asked(body)
    fault, good = fault_of(body, share), translated(text, target)
    if fault == "refused":
        return Reply(text=None, refusal="I will not.")
    if fault == "no_translation":
        return Reply(text=f"Here you are: {good}")
    if fault == "placeholder_lost":
        good = re.sub(r"⟦\d+⟧", "", good)
    if fault == "numbers":
        good += " 987654"
    if fault == "off_language":
        good = translated(text, "English")
    if fault == "length":
        good = " ".join([good, *[SENTENCES[target]] * (3 + 3 * len(text) // 60)])
    return Reply(text=f"<translation>{good}</translation>", finish_reason="length" if fault == "truncated" else "stop")
