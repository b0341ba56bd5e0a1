"""The cases that every gateway must pass, real or local, and what they need."""

import pytest

# Their assertions are the real ones, though no test modules: show what they compared.
pytest.register_assert_rewrite(
    "conformance.approvals",
    "conformance.cases",
    "conformance.credentials",
    "conformance.services",
    "conformance.sessions",
)
