"""The API as a developer meets it: its OpenAPI document, with everything that types alone cannot tell.

FastAPI writes the shapes; the tables of this package add, one module per subject, the name of each operation, examples
of what is sent and answered, and the refusals it can make. A refusal is told by the very error that makes it, so its
status, its body and its sentence cannot be told wrong.
"""
