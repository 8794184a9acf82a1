"""The demo: everything that an installation has, started together and stopped together.

``python -m example_app.demo`` (or ``make demo``) runs it until Ctrl-C; with ``--check`` it drives both
journeys over HTTP and exits. Not part of the example: an application needs nothing of this.
"""
