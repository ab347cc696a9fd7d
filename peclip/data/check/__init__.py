"""``peclip check``: whether a manifest is fit to train on."""

from peclip.data.check.report import Finding, Report, check

__all__ = ("Finding", "Report", "check")
