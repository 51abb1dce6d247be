package web

import (
	"context"
	"fmt"
	"net/http"

	"tocsin/oncall"
)

// Bundles is what the links of pages need that go for several incidents. The package notifier's Acts implements it.
type Bundles interface {
	// Bundle returns what a delivery carries, with its incidents as they stand. Code: not_found.
	Bundle(ctx context.Context, carrier string) (oncall.Bundle, error)
	// AcknowledgeBundle acknowledges every incident of a bundle that nobody has yet, and returns how many. With an
	// error some are not, and it may be called again.
	AcknowledgeBundle(ctx context.Context, carrier, actor, via string) (acknowledged int, err error)
}

// ackBundlePage is what the page behind the link of a bundle shows.
type ackBundlePage struct {
	layout
	Count   int
	Asking  int // nobody has them yet
	Open    int
	Members []oncall.BundleMember
	More    int    // not listed
	Who     string // as whom the link acts
	Outcome string // what a press did; "" while it is still asked for
}

// ackBundle shows the page that asks for all incidents of a bundle, and acknowledges them on a POST.
func (w *Web) ackBundle(rw http.ResponseWriter, r *http.Request, carrier string) {
	d, err := w.o.Store.Delivery(r.Context(), carrier)
	var b oncall.Bundle
	if err == nil {
		b, err = w.o.Bundles.Bundle(r.Context(), carrier)
	}
	said := ""
	if err == nil && r.Method == http.MethodPost && b.States[oncall.IncidentTriggered] > 0 {
		var n int
		n, err = w.o.Bundles.AcknowledgeBundle(r.Context(), carrier, linkActor(d)+" by link", "link")
		if err != nil {
			w.o.Logger.Error("An acknowledgement of a bundle by link failed", "bundle", carrier, "acknowledged", n, "err", err)
			w.pages.message(rw, statusOf(oncall.ErrorCode(err)), w.layout(r, "Not all acknowledged"),
				fmt.Sprintf("%s acknowledged, the others could not be just now. Go back and press again.", incidents(n)))
			return
		}
		said = "You have " + incidents(n) + "."
		b, err = w.o.Bundles.Bundle(r.Context(), carrier)
	}
	switch {
	case oncall.ErrorCode(err) == oncall.CodeNotFound:
		w.pages.message(rw, http.StatusGone, w.layout(r, "The incidents are over"), "What this link belongs to has ended and is no longer kept.")
		return
	case err != nil:
		w.o.Logger.Error("The incidents of a link could not be read", "bundle", carrier, "err", err)
		w.pages.message(rw, http.StatusServiceUnavailable, w.layout(r, "Not now"), "The incidents cannot be read just now. Load this page again.")
		return
	}
	p := ackBundlePage{
		layout: w.layout(r, incidents(b.Count)), Count: b.Count, Asking: b.States[oncall.IncidentTriggered], Members: b.Members,
		Open: b.Count - b.States[oncall.IncidentResolved], More: b.Count - len(b.Members), Who: linkActor(d), Outcome: said,
	}
	status := http.StatusOK
	switch {
	case p.Open == 0:
		status, p.Outcome = http.StatusGone, "All of them are over."
	case p.Outcome == "" && p.Asking == 0:
		p.Outcome = "Somebody has acknowledged all of them that are still open."
	}
	w.pages.render(rw, status, "ackbundle.html", p)
}

func incidents(n int) string {
	if n == 1 {
		return "1 incident"
	}
	return fmt.Sprintf("%d incidents", n)
}

// bundled returns the delivery of a link that is for all that it carried.
func (w *Web) bundled(r *http.Request) (carrier string, ok bool) {
	key, ok := oncall.CheckLink(w.o.Policy().LinkKey, r.PathValue("token"))
	carrier, all := oncall.BundleLink(key)
	return carrier, ok && all && w.o.Bundles != nil
}
