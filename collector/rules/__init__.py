"""Rules: what counts as a fault, evaluated over whole blocks of records. Needs no store."""

from collector.rules.bind import BoundRules, Screened, bind
from collector.rules.evaluate import (
    Episode,
    Evidence,
    FaultSpan,
    RuleState,
    evaluate,
    evaluate_all,
    taken_back,
    withdraw_changed,
)
from collector.rules.now import Known, guard_verdicts, lasting
from collector.rules.rulefile import DEFAULT_FILE, Rule, RuleError, Rules, load_rules

__all__ = [
    "DEFAULT_FILE",
    "BoundRules",
    "Episode",
    "Evidence",
    "FaultSpan",
    "Known",
    "Rule",
    "RuleError",
    "RuleState",
    "Rules",
    "Screened",
    "bind",
    "evaluate",
    "evaluate_all",
    "guard_verdicts",
    "lasting",
    "load_rules",
    "taken_back",
    "withdraw_changed",
]
