"""Flask-RQ's worker runs our jobs too: flask --app ... rq worker mailchimp_optin default"""

from __future__ import annotations

from flask import Flask
from flask_rq import RQ
from rq.serializers import JSONSerializer
from shop import MAPPING, Customer, db, mailchimp


class JSONRQ(RQ):
    """Flask-RQ with JSON instead of pickle, on all its queues: our jobs are written in it."""

    def init_app(self, app):
        super().init_app(app)
        with app.app_context():
            for queue in self.queues.values():
                queue.serializer = JSONSerializer

    def make_worker(self, queues=None, **options):
        return super().make_worker(queues, serializer=JSONSerializer, **options)


rq = JSONRQ()


def create_app(**config):
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config)
    app.config["RQ_CONNECTION"] = app.config["MAILCHIMP_OPTIN_REDIS_URL"]
    app.config["RQ_QUEUES"] = ["mailchimp_optin", "default"]
    db.init_app(app)
    rq.init_app(app)
    mailchimp.init_app(app, db, Customer, mapping=MAPPING, authorize=lambda: True)
    return app
