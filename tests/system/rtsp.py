"""Network cameras for tests: GStreamer's own RTSP server, on a port that the system chooses.

Each argument is a gst-launch line whose payloaders are named pay0, pay1, …; they are found as
/1, /2, … in this order. Prints the port.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
for number, line in enumerate(sys.argv[1:], 1):
    factory = GstRtspServer.RTSPMediaFactory(launch=f"( {line} )", shared=True)
    server.get_mount_points().add_factory(f"/{number}", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
