package oncall

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// PostedAlert is an alert as somebody posted it, with the defaults of the alert API applied. Its labels
// hold no empty value and are valid.
type PostedAlert struct {
	Labels       labels.Labels
	Annotations  labels.Labels
	StartsAt     time.Time
	EndsAt       time.Time // after Received.At: it fires until then, unless it is posted again
	Timeout      bool      // EndsAt was not given: it is Received.At + resolve_timeout
	GeneratorURL string
}

// PostedSource is the source of posted alerts in changes and incidents. All who post are one source, as
// in Alertmanager: two Prometheus servers that post the same label set report the same alert.
const PostedSource = "api"

// Received is a row of the log from which the dispatcher lives: what one request posted, or what one
// evaluation of ours changed. It is on disk before the request is answered and before the evaluation is done.
type Received struct {
	Seq     int64 // order of arrival, given by the store
	At      time.Time
	Posted  []PostedAlert
	Changes []AlertChange
}
