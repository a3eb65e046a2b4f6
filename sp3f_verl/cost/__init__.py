"""What a step costs: arithmetic about models and devices, of which `sp3f plan` and the preflight say time and memory.

Pure: nothing here imports verl, Ray or vLLM. Every constant that is assumed and not counted stands in assumptions.yaml
and is printed with what follows from it.
"""
