"""Preference training on verl's engine: trainer mode `dpo`. Losses are `sp3f_verl.losses`; nothing generates here."""
