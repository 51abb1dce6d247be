package web

import (
	"net/http"
	"strconv"

	"tocsin/oncall"
)

// notification is one message about a group of alerts to one integration, as the API shows it.
type notification struct {
	ID int64 `json:"id"` // grows; before pages on
	oncall.GroupDelivery
}

// listNotifications lists what was sent for groups of alerts, newest first: to whom, how often it was tried and
// what the far end said.
func (w *Web) listNotifications(rw http.ResponseWriter, r *http.Request) {
	if w.o.Alertmanager == nil {
		w.notFound(rw, r)
		return
	}
	f, err := notificationFilter(r)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	list, err := w.o.Alertmanager.Store.GroupDeliveries(r.Context(), f)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	views := make([]notification, 0, len(list))
	for _, d := range list {
		views = append(views, notification{d.Seq, d})
	}
	w.writeJSON(rw, http.StatusOK, views)
}

func notificationFilter(r *http.Request) (oncall.GroupDeliveryFilter, error) {
	f := oncall.GroupDeliveryFilter{Limit: 100}
	for key, values := range r.URL.Query() {
		v := values[len(values)-1]
		var err error
		switch key {
		case "receiver":
			f.Receiver = v
		case "group_key":
			f.GroupKey = v
		case "limit":
			if f.Limit, err = strconv.Atoi(v); err != nil || f.Limit < 1 || f.Limit > maxList {
				return f, oncall.Errorf(oncall.CodeInvalid, "limit %q is no number from 1 to %d", v, maxList)
			}
		case "before":
			if f.Before, err = strconv.ParseInt(v, 10, 64); err != nil || f.Before < 1 {
				return f, oncall.Errorf(oncall.CodeInvalid, "before %q is no id of a notification", v)
			}
		default:
			return f, oncall.Errorf(oncall.CodeInvalid, "unknown parameter %q; known: receiver, group_key, limit, before", key)
		}
	}
	return f, nil
}
