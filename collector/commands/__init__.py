"""The command line, a module for each command: what it is asked, and who answers it.

`add` names the command and its options; the work stands in the module that the command is about, and is imported only once the
command runs: `collector --help` loads nothing heavy. To add a command, write its module and name it in COMMANDS.
"""

from __future__ import annotations

from collector.commands import (
    diagnosis,
    export,
    faults,
    importing,
    model,
    priors,
    query,
    rules,
    schema,
    sentinel,
    serve,
    tail,
    webhooks,
)

COMMANDS = (
    serve, query, tail, export, sentinel, faults, webhooks, importing, priors, rules, model, diagnosis, schema,
)  # fmt: skip
