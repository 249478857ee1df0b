"""Run the tests on httpx2: a pytest plugin, loaded before anything that imports httpx.

``HTTP_STACK=httpx2 python -m pytest -n 0 -p tests.support.httpx2_plugin``. Every ``import httpx`` of the process is httpx2 then, that of
respx and of this package too. (In conftest.py it would be too late: the plugin of respx has imported httpx by then.)
"""

from __future__ import annotations

import os

if os.environ.get("HTTP_STACK") == "httpx2":
    import httpx2

    httpx2.alias_httpx()
