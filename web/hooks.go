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

// phoneReports hears from Twilio: keys that were pressed, how calls and messages ended, and what people write. The handler
// sees by its signature whether it is Twilio.
func (w *Web) phoneReports(rw http.ResponseWriter, r *http.Request) {
	if w.o.Phone == nil {
		w.notFound(rw, r)
		return
	}
	w.o.Phone.ServeHTTP(rw, r)
}
