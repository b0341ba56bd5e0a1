"""The conformance cases against real gateways of three releases."""

from __future__ import annotations

from conformance.approvals import *  # noqa: F403
from conformance.cases import *  # noqa: F403
from conformance.fixtures import *  # noqa: F403
from conformance.services import *  # noqa: F403
from conformance.sessions import *  # noqa: F403
from real.install import RELEASES as RELEASES
