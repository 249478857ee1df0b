"""Application of the workers in the tests of Celery."""

from __future__ import annotations

import json
import os
from importlib import import_module
from typing import Any

from imagesdk.integrations.celery import add_task

_celery: Any = import_module("celery")
app = _celery.Celery("covers", broker=os.environ["BROKER"] + "/0", backend=os.environ["BROKER"] + "/1")
app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
send_once = add_task(app, **json.loads(os.environ["OPTIONS"]))
