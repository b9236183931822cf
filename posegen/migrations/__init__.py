"""The history of the tables, run by `posegen migrate`."""
