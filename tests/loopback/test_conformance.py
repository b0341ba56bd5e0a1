"""The conformance cases against LocalGateway."""

from __future__ import annotations

from conformance.approvals import *  # noqa: F403
from conformance.cases import *  # noqa: F403
from conformance.credentials import *  # noqa: F403
from conformance.fixtures import *  # noqa: F403
from conformance.services import *  # noqa: F403
from conformance.sessions import *  # noqa: F403
from conformance.starting import *  # noqa: F403
