"""`fxcost devices`: what is known of devices; and the devices that options name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..text.choice import choose
from .complete import formats
from .group import fxcost
from .output import GOOD, present

if TYPE_CHECKING:
    from ..speed.devices import Device

HERE = "here"


def find_device(name: str) -> Device:
    """A device by its name; "here" measures this machine.

    Raises:
        DeviceError: there is no such device.
    """
    from ..speed.devices import Device

    return Device.calibrate() if name == HERE else Device.named(name)


@fxcost.command()
@click.option("--sources", is_flag=True, help="Also show the document that each device's figures are from.")
@click.option("--format", "table_format", metavar="FORMAT", default="rounded_outline", help="Any format of tabulate.")
def devices(*, sources: bool, table_format: str) -> int:
    """List the devices that `--device` knows, with their dense peaks (FLOPS; OPS for int8) and memory.

    \b
      fxcost devices --format github --sources
    """
    from ..speed.as_devices import devices_table
    from ..speed.devices import Device

    choose("table format", table_format, formats())
    present(lambda: devices_table(Device.known(), sources=sources, format=table_format), markup=table_format)
    return GOOD
