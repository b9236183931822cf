"""`posegen doctor`: what this machine lacks, told before the first job fails, each with what to do about it.

A check is a function that takes the subject and yields findings; it changes nothing that lasts. Checks run side by
side, each within its own time, and one that breaks is a finding of its own (`posegen.doctor.examining`). A new check is
one line in `posegen.doctor.checks`.
"""
