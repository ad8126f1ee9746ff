"""What is known of records at once, without looking at each of them again: extremes, numbers and sums of their values. Pure."""

from collector.survey.survey import Survey, Surveys, survey_of

__all__ = ["Survey", "Surveys", "survey_of"]
