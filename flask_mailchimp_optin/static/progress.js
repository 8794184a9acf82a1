/* Follows a running sync: asks every two seconds how far it is, and reloads the page when it ended.
   The page says the same without this script. */
(function () {
  "use strict";
  var box = document.querySelector("[data-progress]");
  if (!box) return;
  var bar = box.querySelector("progress");
  var percent = box.querySelector("[data-percent]");
  var text = box.querySelector("[data-text]");
  var wait = 2000;

  function show(run) {
    if (String(run.run) !== box.dataset.run) {
      window.location.reload();
      return;
    }
    bar.value = run.percent;
    bar.textContent = percent.textContent = run.percent + " %";
    text.textContent = run.text;
    wait = 2000;
    later();
  }

  function ask() {
    if (document.hidden) {
      later();
      return;
    }
    fetch(box.dataset.progress, { headers: { Accept: "application/json" }, credentials: "same-origin" })
      .then(function (answer) {
        if (!answer.ok) throw new Error(String(answer.status));
        return answer.json();
      })
      .then(show)
      .catch(function () {
        wait = Math.min(wait * 2, 60000); // the server may be restarting: ask more rarely
        later();
      });
  }

  function later() {
    window.setTimeout(ask, wait);
  }

  later();
})();
