package web

import "net/http"

// oldLinks serves the script that leads links to Alertmanager's pages on to ours.
func (w *Web) oldLinks(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(rw, r, files, "static/oldlinks.js")
}
