"""Self-play fine-tuning (SPIN, T-SPIN) on verl: trainer mode `selfplay`, iteration after iteration in one command."""
