"""What a run is asked before Ray and vLLM start: a check a function, in `callback.py` the order of all of them."""
