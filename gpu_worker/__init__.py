"""The hands: one process per card that takes RQ jobs, claims poses, feeds the engine and finishes pictures."""
