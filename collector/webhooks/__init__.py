"""Webhooks: notices of faults, told to other systems in order, whatever becomes of this process.

`targets` reads who is told what; `plan` decides what is told next, `body` how it is written; `sender` does it.
"""
