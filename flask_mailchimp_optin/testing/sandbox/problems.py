"""Mailchimp's refusals: problem documents with the titles and texts of the real API.

Titles are what integrations branch on, so they are Mailchimp's own, letter by letter.
Imports nothing of the sandbox but the record types.
"""

from __future__ import annotations

from collections.abc import Sequence

from .records import JSON

TYPE = "https://mailchimp.com/developer/marketing/docs/errors/"

INVALID_ADDRESS = "{} looks fake or invalid, please enter a real email address."
TOO_MANY_LISTS = (
    "{} has signed up to a lot of lists very recently; we're not allowing more signups for now"
)
COMPLIANCE = (
    "{} is in a compliance state due to unsubscribe, bounce, or compliance review "
    "and cannot be subscribed."
)
FORGOTTEN = (
    "{} was permanently deleted and cannot be re-imported. "
    "The contact must re-subscribe to get back on the list."
)
NOT_VALIDATED = (
    "The resource submitted could not be validated. "
    "For field-specific details, see the 'errors' array."
)


class ProblemError(Exception):
    """An answer other than success, as Mailchimp words it.

    :param errors: pairs of field and message.
    :param allow: for 405, the methods that the resource has.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        errors: Sequence[tuple[str, str]] = (),
        allow: str = "",
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.errors: tuple[tuple[str, str], ...] = tuple(errors)
        self.allow = allow

    def document(self, instance: str) -> JSON:
        """The problem document (RFC 7807) that goes over the wire."""
        found: JSON = {
            "type": TYPE,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.errors:
            found["errors"] = [{"field": name, "message": text} for name, text in self.errors]
        return found


def not_found() -> ProblemError:
    return ProblemError(404, "Resource Not Found", "The requested resource could not be found.")


def invalid(field: str, message: str) -> ProblemError:
    return ProblemError(400, "Invalid Resource", NOT_VALIDATED, [(field, message)])


def refused(detail: str) -> ProblemError:
    return ProblemError(400, "Invalid Resource", detail)


def compliance(address: str) -> ProblemError:
    return ProblemError(400, "Member In Compliance State", COMPLIANCE.format(address))


def forgotten(address: str) -> ProblemError:
    return ProblemError(400, "Forgotten Email Not Subscribed", FORGOTTEN.format(address))


def exists(address: str) -> ProblemError:
    return ProblemError(
        400,
        "Member Exists",
        f"{address} is already a list member. Use PUT to insert or update list members.",
    )


# Mailchimp's error glossary: what `X-Trigger-Error: <name>` makes the API answer.
GLOSSARY: dict[str, tuple[int, str, str]] = {
    "BadRequest": (400, "Bad Request", "Your request could not be processed."),
    "InvalidAction": (400, "Invalid Action", "The action requested was not valid."),
    "InvalidResource": (400, "Invalid Resource", NOT_VALIDATED),
    "JSONParseError": (
        400,
        "JSON Parse Error",
        "We encountered an unspecified JSON parsing error.",
    ),
    "APIKeyMissing": (401, "API Key Missing", "Your request did not include an API key."),
    "APIKeyInvalid": (
        401,
        "API Key Invalid",
        "Your API key may be invalid, or you've attempted to access the wrong datacenter.",
    ),
    "Forbidden": (403, "Forbidden", "You are not permitted to access this resource."),
    "UserDisabled": (403, "User Disabled", "This account has been disabled."),
    "WrongDatacenter": (
        403,
        "Wrong Datacenter",
        "The API key provided is linked to a different data center.",
    ),
    "ResourceNotFound": (
        404,
        "Resource Not Found",
        "The requested resource could not be found.",
    ),
    "MethodNotAllowed": (
        405,
        "Method Not Allowed",
        "The requested method and resource are not compatible. "
        "See the Allow header for this resource's available methods.",
    ),
    "ResourceNestingTooDeep": (
        414,
        "Resource Nesting Too Deep",
        "The sub-resource requested is nested too deeply.",
    ),
    "InvalidMethodOverride": (
        422,
        "Invalid Method Override",
        "You can only use the X-HTTP-Method-Override header with the POST method.",
    ),
    "RequestedFieldsInvalid": (
        422,
        "Requested Fields Invalid",
        "The fields requested from this resource are invalid.",
    ),
    "TooManyRequests": (
        429,
        "TooManyRequests",
        "You have exceeded the limit of 10 simultaneous connections.",
    ),
    "InternalServerError": (
        500,
        "InternalServerError",
        "An unexpected internal error has occurred. Please contact Support for more information.",
    ),
    "ComplianceRelated": (503, "Compliance Related", "This method has been disabled."),
}

_BY_STATUS = {403: "Forbidden", 401: "APIKeyInvalid", 500: "InternalServerError"}


def named(name: str) -> ProblemError:
    """The problem that the glossary lists under this name."""
    status, title, detail = GLOSSARY[name]
    return ProblemError(status, title, detail)


def of_status(status: int) -> ProblemError:
    """A problem that fits a status, for failures that a test orders by number."""
    names = [name for name, (number, _, _) in GLOSSARY.items() if number == status]
    if not names:
        return ProblemError(
            status, "Internal Server Error", "An unexpected internal error has occurred."
        )
    return named(_BY_STATUS.get(status, names[0]))
