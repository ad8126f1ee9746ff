"""What can go wrong at the agent's doors. Every message says what, where and what to do about it."""

from __future__ import annotations


class AgentError(Exception):
    """Base of everything this package raises on purpose; printed as it is, without a trace."""


class ConfigError(AgentError):
    """A configuration with mistakes; the message has a line for each of them."""


class OutboxError(AgentError):
    """An outbox that cannot be used: in use, not writable, or of newer software."""


class OutboxDamaged(AgentError):
    """An outbox file that SQLite cannot read as a database; it is set aside, and a fresh one begun."""


class OutboxBusy(AgentError):
    """An outbox that cannot be written for now (full or slow disk, a lock): worth another try."""
