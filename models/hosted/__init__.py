"""Drawing on somebody else's machine: the hosted engine, its two backends, and what is done when they do not answer.

Imports no torch. A dedicated endpoint that runs `scripts/hf_endpoint/handler.py` keeps pose control; the serverless
text-to-image service knows prompts only. docs/hosted.md tells each fault and what becomes of it.
"""
