// Messages that were sent by Alertmanager's templates, its default ones too, link to its own pages: /#/alerts?receiver=…
// What follows "#" never reaches the server, so the first page leads on from here.
(() => {
  const [path, query] = location.hash.split("?", 2);
  const old = new URLSearchParams(query);
  const now = new URLSearchParams();
  if (path === "#/alerts") {
    if (old.get("filter")) now.set("filter", old.get("filter"));
    if (old.get("receiver")) now.set("receiver", old.get("receiver"));
    for (const flag of ["silenced", "inhibited"]) if (old.get(flag) === "true") now.set(flag, "1");
    location.replace("alerts?" + now);
  } else if (path === "#/silences/new") {
    if (old.get("filter")) now.set("matchers", old.get("filter"));
    if (old.get("comment")) now.set("comment", old.get("comment"));
    location.replace("silences/new?" + now);
  } else if (path === "#/silences") {
    location.replace("silences");
  } else if (path.startsWith("#/silences/")) {
    location.replace("silences#s" + path.split("/")[2]);
  }
})();
