"""An administrator for the pages."""

from __future__ import annotations

import pytest

from tests.house import Host
from tests.views.admin import Admin


@pytest.fixture
def admin(host: Host) -> Admin:
    """At the pages of the test's host, with nothing opened yet."""
    return Admin(host.app.test_client())
