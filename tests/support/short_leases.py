"""Leases of a sixth of their length, in each process that imports this module."""

from __future__ import annotations

from typing import Any, cast

from imagesdk._coordination import claim_ledger, claims

LEASE = 5.0

for _module, _name, _seconds in ((claims, "LEASE", LEASE), (claim_ledger, "HEARTBEAT", LEASE / 4)):
    setattr(cast("Any", _module), _name, _seconds)
