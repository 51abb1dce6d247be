package web

import (
	"net/http"

	"tocsin/oncall"
)

// vendorReports hears what people do at PagerDuty or Opsgenie. Who may report is for the handler to see: by a signature,
// or by a secret.
func (w *Web) vendorReports(vendor string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		if w.o.Hooks != nil {
			if h := w.o.Hooks(vendor, name); h != nil {
				h.ServeHTTP(rw, r)
				return
			}
		}
		w.fail(rw, r, oncall.Errorf(oncall.CodeNotFound, "the receiver %q has no %s_webhook", name, vendor))
	}
}
