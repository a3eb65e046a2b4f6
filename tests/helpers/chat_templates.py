"""Three shapes of chat template that real models have, in our own words, and tokenizers that have their tokens.

chatml: a system turn where the row has none, and a newline after every turn. headers: a token at the beginning, role
headers of tokens, trimmed contents, nothing between turns. model: other role names, a system text inside the first user
turn, turns that must alternate, and an end of turn that is not the tokenizer's end of sequence.
"""

from dataclasses import dataclass

from sp3f_verl.quickstart.model import build_tokenizer

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "{{ bos_token }}"
    "{% for m in messages %}<|head|>{{ m['role'] }}<|/head|>\n\n{{ m['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|/head|>\n\n{% endif %}"
)
MODEL = (
    "{{ bos_token }}{% set system = '' %}"
    "{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] + '\n\n' %}{% set messages = messages[1:] %}"
    "{% endif %}"
    "{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "<turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ system if loop.first else '' }}{{ m['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    template: str
    special: tuple[str, ...]
    settings: dict[str, str]  # of the tokenizer


SHAPES = {
    "chatml": Shape(CHATML, (), {}),
    "headers": Shape(
        HEADERS, ("<|begin|>", "<|head|>", "<|/head|>", "<|eot|>"), {"bos": "<|begin|>", "eos": "<|eot|>"}
    ),
    "model": Shape(MODEL, ("<bos>", "<eos>", "<turn>", "<end_of_turn>"), {"bos": "<bos>", "eos": "<eos>"}),
}


def tokenizer(shape: Shape):
    texts = ["You help. What is 7+5? It is 12.", "system user assistant model\n\n"] * 3
    built = build_tokenizer(texts, 320)
    built.add_special_tokens({"additional_special_tokens": list(shape.special)})
    for name, token in shape.settings.items():
        setattr(built, f"{name}_token", token)
    built.chat_template = shape.template
    return built
