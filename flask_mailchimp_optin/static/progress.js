/* Follows a running sync: asks every two seconds or more how far it is, and puts what the page says then
   in its place when it ended. Nothing moves but the bar. The page says the same without this script. */
(function () {
  "use strict";
  var speaker = document.querySelector("[data-said]");
  var quarter = null; // of the way, that was spoken of last
  var wait = 2000;

  function part(name) {
    return document.querySelector("[data-" + name + "]");
  }

  function ask() {
    var box = part("progress");
    if (!box) return;
    if (document.hidden) {
      later();
      return;
    }
    var begun = Date.now();
    get(box.dataset.progress, "application/json")
      .then(function (answer) {
        return answer.json();
      })
      .then(function (run) {
        wait = Math.max(2000, 10 * (Date.now() - begun)); // a busy site is asked more rarely
        return String(run.run) === box.dataset.run ? show(run) : end(run);
      })
      .catch(function () {
        wait = Math.min(wait * 2, 60000); // the site may be restarting
        part("lost").hidden = false;
      })
      .then(later);
  }

  function get(address, type) {
    var asked = { headers: { Accept: type }, credentials: "same-origin" };
    return fetch(address, asked).then(function (answer) {
      if (!answer.ok) throw new Error(String(answer.status));
      return answer;
    });
  }

  function show(run) {
    var bar = document.querySelector("[data-progress] progress");
    bar.value = run.percent;
    bar.textContent = part("percent").textContent = run.percent + " %";
    ["step", "phase", "pace"].forEach(function (name) {
      part(name).textContent = run[name];
    });
    part("at").textContent = new Date().toLocaleTimeString(document.documentElement.lang || undefined);
    part("lost").hidden = true;
    var now = Math.floor(run.percent / 25);
    if (quarter !== null && now > quarter) speaker.textContent = run.said;
    quarter = now;
  }

  function end(run) {
    return get(window.location.href, "text/html")
      .then(function (answer) {
        return answer.text();
      })
      .then(function (html) {
        var fresh = new DOMParser().parseFromString(html, "text/html");
        document.querySelectorAll(".mco section[aria-labelledby]").forEach(function (old) {
          var name = old.getAttribute("aria-labelledby");
          var part = fresh.querySelector("section[aria-labelledby=" + name + "]");
          if (part) replace(old, part, name);
        });
        speaker.textContent = run.said;
        quarter = null;
      });
  }

  // What was open stays open, and the focus where it was; nothing is taken from who is typing.
  function replace(old, part, name) {
    var at = old.contains(document.activeElement) ? document.activeElement : null;
    if (at && at.matches("input, select, textarea")) return;
    var open = Array.from(old.querySelectorAll("details[open] > summary"), text);
    old.innerHTML = part.innerHTML;
    old.querySelectorAll("summary").forEach(function (one) {
      if (open.includes(text(one))) one.parentNode.open = true;
    });
    if (!at) return;
    var heading = document.getElementById(name);
    heading.tabIndex = -1;
    var same = Array.from(old.querySelectorAll("a, button, summary")).find(function (one) {
      return text(one) === text(at);
    });
    (same || heading).focus();
  }

  function text(one) {
    return one.textContent.trim();
  }

  function later() {
    window.setTimeout(ask, wait);
  }

  later();
})();
