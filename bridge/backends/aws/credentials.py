"""Credentials, region and endpoints by AWS's own rules: botocore finds them, in a thread.

The standard chain applies (environment, profiles, web identity, containers, instances), and so do
`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_CA_BUNDLE` and the shared configuration file.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session

from bridge.backends.aws.connections import Endpoint, endpoint_from_url
from bridge.backends.aws.signing import Keys
from bridge.messaging.blocking import in_thread
from bridge.messaging.errors import StoreUnavailable

_log = logging.getLogger("landbridge.aws")


class Credentials:
    """The keys to sign with now; botocore renews those that end."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.keys = _keys_of(source)

    async def refresh(self) -> None:
        """Take over what the source says now; it asks its provider only when it has to. Where the
        provider cannot be asked, the keys stay as they are.
        """
        try:
            self.keys = await in_thread(lambda: _keys_of(self._source))
        except (botocore.exceptions.BotoCoreError, OSError, RuntimeError) as error:
            _log.warning("AWS credentials were not renewed: %s", error)


class Resolved:
    """What the environment says about AWS, read once."""

    def __init__(
        self,
        region: str,
        endpoints: Mapping[str, Endpoint],
        credentials: Credentials,
        tls: ssl.SSLContext | None,
        session: Any,
    ) -> None:
        self._session = session
        self.region = region
        self.endpoints = endpoints
        self.credentials = credentials
        self.tls = tls

    def client(self, service: str, url: str | None) -> Any:
        """A client of botocore's, for services that are called rarely. Blocking."""
        # Endpoints that are not AWS's seldom have a host name for each bucket.
        config = botocore.config.Config(s3={"addressing_style": "path" if url else "auto"})
        return self._session.create_client(
            service, region_name=self.region, endpoint_url=url, config=config
        )


def resolve(region: str | None, urls: Mapping[str, str | None]) -> Resolved:
    """Blocking. `urls` are services with the endpoint URL that configuration gives them.

    Raises `StoreUnavailable` with what is missing.
    """
    try:
        session = botocore.session.get_session()
        region = region or session.get_config_variable("region")
        if not region:
            raise StoreUnavailable(
                "no AWS region: set backend.region in the configuration, or AWS_REGION"
            )
        source = session.get_credentials()
        if source is None:
            raise StoreUnavailable(
                "no AWS credentials: none in the environment (AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY), in a profile, or from a container or instance role"
            )
        endpoints = {
            service: endpoint_from_url(_url(session, service, region, url))
            for service, url in urls.items()
        }
        credentials = Credentials(source)
        bundle = session.get_config_variable("ca_bundle")
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise StoreUnavailable(f"AWS is not usable: {error}") from None
    tls: ssl.SSLContext | None = None
    if any(endpoint.tls for endpoint in endpoints.values()):
        tls = ssl.create_default_context(cafile=bundle)
    return Resolved(region, endpoints, credentials, tls, session)


def _url(session: Any, service: str, region: str, url: str | None) -> str:
    if url is not None:
        return url
    # The client is what knows partitions, FIPS, dual stack and the endpoint variables.
    found: str = session.create_client(service, region_name=region).meta.endpoint_url
    return found


def _keys_of(source: Any) -> Keys:
    frozen = source.get_frozen_credentials()
    return Keys(frozen.access_key, frozen.secret_key, frozen.token)
