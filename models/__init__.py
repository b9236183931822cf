"""Diffusion: a prompt and a control picture in, a picture out. Imports nothing of the service and is usable alone."""
