"""How a test steers webhooks and bad behaviour. The controls are methods of the sandbox."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from .acts import Acts
from .faults import Body, Fault, Faults, How, Rewrite
from .records import JSON, RingRecord
from .ringer import Order, Ringer, Wsgi

Path = str | re.Pattern[str] | None


class Controls(Acts):
    """Mixed into the sandbox."""

    _ringer: Ringer
    _faults: Faults

    # Webhooks.

    def webhooks(self, list_id: str) -> list[JSON]:
        """The registered webhooks as the API shows them, with ``enabled``."""
        with self._account.lock:
            hooks = self._audience(list_id).webhooks.values()
            return [{**hook.as_json(list_id), "enabled": hook.enabled} for hook in hooks]

    @property
    def rings(self) -> list[RingRecord]:
        """Deliveries that came to an end, in that order."""
        return self._ringer.delivered

    @property
    def ringer(self) -> Ringer:
        """For ``retries_s`` and ``timeout_s``."""
        return self._ringer

    def deliver_to(self, app: Wsgi | None) -> None:
        """Ring this WSGI application in process, whatever host its URLs name; None: over HTTP."""
        self._ringer.target = app

    def hold_rings(self) -> None:
        """Keep rings back until ``release_rings``."""
        self._ringer.hold()

    def release_rings(self, order: Order = "fifo", seed: int | None = None) -> int:
        """Deliver what was held, in this order, and hold no longer; returns how many."""
        return self._ringer.release(order, seed)

    def drop_rings(self, count: int) -> None:
        """Lose the next ``count`` rings."""
        self._ringer.drop(count)

    def repeat_rings(self, times: int) -> None:
        """Deliver every ring ``times`` times from now on."""
        self._ringer.repeat(times)

    def wait_for_rings(self, timeout_s: float = 10.0) -> bool:
        """Wait until no ring is under way or due for another attempt; held ones don't count."""
        return self._ringer.wait(timeout_s)

    def rotate_signing_secret(self, list_id: str, webhook_id: str, overlap: bool = True) -> str:
        """A new secret for a webhook; with ``overlap`` deliveries are signed with both."""
        with self._account.lock:
            hook = self._audience(list_id).webhooks[webhook_id]
            fresh = secrets.token_hex(32)
            hook.secrets = [fresh, *hook.secrets[:1]] if overlap else [fresh]
            return fresh

    def disable_webhooks(self, list_id: str) -> None:
        """Mailchimp stops delivering, as it may after many failures."""
        with self._account.lock:
            for hook in self._audience(list_id).webhooks.values():
                hook.enabled = False

    def remove_webhooks(self, list_id: str) -> None:
        """An administrator deletes the audience's webhooks."""
        with self._account.lock:
            self._audience(list_id).webhooks.clear()

    # Bad behaviour.

    def fail_next(
        self,
        status: int = 503,
        times: int = 1,
        path: Path = None,
        body: Body = None,
        delay_s: float = 0.0,
        *,
        how: How = "status",
        applied: bool = False,
        location: str | None = None,
        size: int = 50_000_000,
    ) -> None:
        """Let the next API calls fail.

        :param times: how many calls.
        :param path: which calls: text found in, or pattern matching, ``"POST /3.0/lists?a=b"``.
        :param body: text, bytes or JSON; None for the problem document of that status.
        :param delay_s: wait before failing; for ``drip`` the gap between bytes.
        :param how: ``status`` answers with status and body; ``reset`` breaks the connection;
            ``hang`` does so after ``delay_s``; ``half`` and ``drip`` send half of, or byte by byte,
            the given body, or the real answer if none is given; ``huge`` sends ``size`` bytes;
            ``slow`` waits, then does and answers what was asked, even if nobody listens by then;
            ``twice`` does it twice, as if it had been repeated on its way, and answers what came of
            the second time; ``other`` answers what the call of the same method before this one was
            answered, as a confused proxy does;
            ``late`` breaks the connection at once and takes effect when the sandbox's clock is
            ``delay_s`` on, with the next call or ``land_late``, as a request does that Mailchimp
            was still working at when the client gave up.
        :param applied: the request takes effect although its answer is lost.
        :param location: redirect there.
        """
        self._faults.add(
            Fault(
                status=302 if location and not 300 <= status < 400 else status,
                times=times,
                path=path,
                body=body,
                delay_s=delay_s,
                how=how,
                applied=applied,
                location=location,
                size=size,
            )
        )

    def rewrite_next(self, rewrite: Rewrite, times: int = 1, path: Path = None) -> None:
        """Do what the next calls ask for, but answer what ``rewrite`` makes of the real answer.

        For rows that are missing, in another order or another case, and for totals that lie.
        """
        self._faults.add(
            Fault(
                status=200,
                times=times,
                path=path,
                body=None,
                delay_s=0.0,
                how="status",
                applied=True,
                location=None,
                size=0,
                rewrite=rewrite,
            )
        )

    def stop_failing(self) -> None:
        """Forget ordered failures and hooks that have not come to pass."""
        self._faults.clear()

    def before_answer(self, act: Callable[[], object], k: int = 1, path: Path = None) -> None:
        """Call ``act`` before the k-th matching API call from now is handled.

        The caller waits meanwhile: what happens in ``act`` happens while its request is under way.
        """
        self._faults.add_hook(act, k, path)

    def after_effect(self, act: Callable[[], object], k: int = 1, path: Path = None) -> None:
        """Call ``act`` once the k-th matching API call from now has taken effect, before its answer.

        The answer tells of the time before ``act``. With a fault that gives the call no effect, it
        is called before the fault's answer.
        """
        self._faults.add_hook(act, k, path, after=True)
