"""``client.models``: the models that a server has, and the day on which it ends each of them.

The profiles in :mod:`imagesdk.models` are facts about known models; what the server says about its own is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagesdk._calls.build import ClientContext
from imagesdk._calls.queries import ask
from imagesdk._protocol import report_api
from imagesdk.policies import Timeouts

if TYPE_CHECKING:
    from imagesdk.reports import ServedModel


class AsyncModels:
    """Models of the server, as ``client.models``."""

    def __init__(self, context: ClientContext) -> None:
        self._engine = context.engine
        self._defaults = context.defaults

    async def list(self, *, timeout: float | Timeouts | None = None) -> tuple[ServedModel, ...]:
        """Return all models of the server, in its order. Many servers have models for other work, too.

        Args:
            timeout: Seconds for the whole call, or :class:`Timeouts`. Default: that of the client.

        Example:
            ```python
            for model in await client.models.list():
                print(model.id, model.shut_down)
            ```

        Raises:
            APIError: If the request fails.
        """
        request = report_api.models_request()
        return await ask(self._engine, self._defaults, request, report_api.parse_models, timeout)

    async def retrieve(self, model: str, *, timeout: float | Timeouts | None = None) -> ServedModel:
        """Return the facts of the server about one model.

        Args:
            model: The name of the model.
            timeout: Seconds for the whole call, or :class:`Timeouts`. Default: that of the client.

        Example:
            ```python
            model = await client.models.retrieve("gpt-image-1.5")
            print(model.shut_down)
            ```

        Raises:
            InvalidRequestError: If ``model`` is empty. Nothing was sent.
            NotFoundError: If the server has no such model.
            APIError: If the request fails in another way.
        """
        request = report_api.models_request(model)
        return await ask(self._engine, self._defaults, request, report_api.parse_model, timeout)


AsyncModels.__module__ = "imagesdk"
