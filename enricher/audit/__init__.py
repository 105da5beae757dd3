"""The audit of a run: does every input have its output or dead letter, in order and unchanged? Pure.

``ledger`` keeps what has to be known of each input record, ``lanes`` how far each key has come, ``digests`` what is
compared, ``report`` what was found, and ``audit`` puts them together.
"""

from enricher.audit.audit import Audit
from enricher.audit.report import Example, Findings, Report

__all__ = ["Audit", "Example", "Findings", "Report"]
