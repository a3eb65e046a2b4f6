"""The only room that touches names of verl, vLLM and Ray which those do not promise to keep.

`tests/verl_bridge/test_contract.py` fails when one of them moves.
"""
