#!/usr/bin/python3
"""Makes a btvirt air repeat its advertisements, as every radio does.

btvirt before BlueZ 5.72 shows an advertisement once, when the advertising or a scan starts, and at the start of
a scan the kernel does not listen yet: whoever began to advertise earlier is then never heard. Switching an advertisement
off and on makes btvirt show it again. That is done here, past the kernel, twice a second, for the first instances
of each controller named on the command line; btvirt refuses those that do not exist.
"""

import socket
import sys
import time

INTERVAL_S = 0.5
# A bluetoothd that was slow to drop those of a lost client counts on.
INSTANCES = range(1, 4)
# HCI command packet: LE Set Extended Advertising Enable, one set, no end (Core Specification 4.E 7.8.56).
COMMAND = bytes([0x01, 0x39, 0x20, 0x06])
# By this handles.c knows these commands from the kernel's: it lets nothing be switched on that the kernel has switched off.
MARK = 0x55


def main():
    controllers = []
    for name in sys.argv[1:]:
        controller = socket.socket(socket.AF_BLUETOOTH, socket.SOCK_RAW, socket.BTPROTO_HCI)
        controller.bind((int(name.removeprefix("hci")),))
        controllers.append(controller)
    while True:
        for controller in controllers:
            for instance in INSTANCES:
                try:
                    for enable in (0, 1):
                        controller.send(COMMAND + bytes([enable, 1, instance, 0, 0, MARK]))
                except OSError:
                    pass  # switched off, or gone with its air
        time.sleep(INTERVAL_S)


main()
