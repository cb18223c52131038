# SPDX-License-Identifier: Apache-2.0
"""What Bumble and the rest of this room call by different names: addresses, advertisements and errors."""

import asyncio
import contextlib
from collections.abc import Iterator

from bumble import hci
from bumble.core import AdvertisingData

from pineconed.transport.ble.address import AddressKind, BleAddress
from pineconed.transport.ble.backend import BleError
from pineconed.transport.ble.bumble_uuids import SERVICE

ADVERTISEMENT = bytes(
    AdvertisingData(
        [
            (AdvertisingData.FLAGS, bytes([0x06])),  # general discoverable, no BR/EDR
            (AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(SERVICE)),
        ]
    )
)
"""What a node advertises: the service, and nothing by which it could be told from others."""


def ble_address(address: hci.Address) -> BleAddress:
    """A device address of Bumble in our terms."""
    kind = AddressKind.PUBLIC if address.is_public else AddressKind.RANDOM
    return BleAddress(str(address).partition("/")[0], kind)


def hci_address(address: BleAddress) -> hci.Address:
    """The same in those of Bumble."""
    is_public = address.kind is AddressKind.PUBLIC
    kind = hci.Address.PUBLIC_DEVICE_ADDRESS if is_public else hci.Address.RANDOM_DEVICE_ADDRESS
    return hci.Address(address.text, kind)


@contextlib.contextmanager
def plain_errors(what: str) -> Iterator[None]:
    """What goes wrong in Bumble is a `BleError`; so is a connection that ends meanwhile.

    Bumble hardly looks at what a device answers, so that can raise anything.
    """
    try:
        yield
    except BleError:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BleError(f"cannot {what}: the connection ended") from error
    except Exception as error:
        raise BleError(f"cannot {what}: {words_of(error)}") from error


def words_of(error: Exception) -> str:
    """What an error says; the name of its type if it says nothing."""
    return str(error) or type(error).__name__
