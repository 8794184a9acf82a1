"""The demo: everything that an installation has, started together and stopped together.

``python -m example_app.demo`` (or ``make demo``) runs it until Ctrl-C; with ``--check`` it drives both
journeys over HTTP and exits. ``--sandbox no`` (``make demo SANDBOX=no``) leaves the sandbox out and
talks to the real Mailchimp, with a database of its own; for webhooks give it a tunnel's address with
``--public-url``. Not part of the example: an application needs nothing of this.
"""
