"""Batch -> Outputs -> losses: the one model (`localizer`), mask-aware maths (`blocks`) and losses all methods share."""
