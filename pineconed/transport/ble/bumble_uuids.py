# SPDX-License-Identifier: Apache-2.0
"""The service in what Bumble receives, without letting it remember every UUID that was ever shown to it.

Bumble keeps all UUIDs that it parses in one list for good and looks through that for each, but any device
can make them up, in advertisements as in requests and answers of GATT.
"""

from bumble.core import UUID, AdvertisingData

from pineconed.transport.ble.value import SERVICE_UUID

SERVICE = UUID(SERVICE_UUID)


class KnownUuids(list[UUID]):
    """Bumble's list as it is after loading, with the names of the standard's: nothing comes to it."""

    def append(self, uuid: UUID) -> None:
        """Remember nothing: who asked for the UUID has it."""


UUID.UUIDS = KnownUuids(UUID.UUIDS)


def shows_service(data: AdvertisingData) -> bool:
    """Whether an advertisement lists the service."""
    wanted = bytes(SERVICE)
    return any(
        wanted in (raw[at : at + 16] for at in range(0, len(raw) - 15, 16))
        for kind in (
            AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
            AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
        )
        for raw in data.get_all(kind, raw=True)
    )
