package oncall

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// How what is received becomes an active alert. Nothing here changes an ActiveAlert: each function returns
// a new one. Whoever replays the log leaves out what ActiveAlert.Seq says is in there already.

// AlertFingerprint is the identity of a label set in the alert API: that of model.LabelSet.
func AlertFingerprint(ls labels.Labels) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	sum := uint64(offset)
	ls.Range(func(l labels.Label) {
		for i := range len(l.Name) {
			sum = (sum ^ uint64(l.Name[i])) * prime
		}
		sum = (sum ^ 255) * prime
		for i := range len(l.Value) {
			sum = (sum ^ uint64(l.Value[i])) * prime
		}
		sum = (sum ^ 255) * prime
	})
	return sum
}

// MergePosted takes in an alert as it was posted at an instant, in the row seq of the log. old is what is
// known of its label set (nil: nothing). The rules are Alertmanager's: spans that overlap become one, which
// starts when the earlier did; an end that was given beats one that was made up.
func MergePosted(old *ActiveAlert, p PostedAlert, at time.Time, seq int64) *ActiveAlert {
	now := at.UnixMicro()
	a := &ActiveAlert{
		Labels: p.Labels, Annotations: p.Annotations, GeneratorURL: p.GeneratorURL,
		StartsAt: p.StartsAt.UnixMicro(), EndsAt: p.EndsAt.UnixMicro(), Timeout: p.Timeout,
		UpdatedAt: now, ReceivedAt: now, Seq: seq,
	}
	if old == nil {
		a.Fingerprint = AlertFingerprint(p.Labels)
		return a
	}
	a.share(old)
	a.Rules, a.Incidents = old.Rules, old.Incidents
	if old.Firing(at) {
		a.ReceivedAt = old.ReceivedAt
	}
	if len(old.Rules) > 0 {
		a.StartsAt = min(a.StartsAt, old.StartsAt)
	}
	overlap := a.EndsAt > old.StartsAt && a.EndsAt < old.EndsAt || a.StartsAt > old.StartsAt && a.StartsAt < old.EndsAt
	if old.EndsAt == 0 || !overlap {
		return a
	}
	if now < old.UpdatedAt { // the clock was set back: what was reported last by the clock counts
		younger := *old
		younger.mergeSpan(a, now)
		younger.Seq = seq
		return &younger
	}
	a.mergeSpan(old, now)
	return a
}

// mergeSpan makes the span of a, the younger report, that of a and o together. It writes to a.
func (a *ActiveAlert) mergeSpan(o *ActiveAlert, now int64) {
	a.StartsAt = min(a.StartsAt, o.StartsAt)
	switch resolved := a.EndsAt <= now; {
	case o.EndsAt <= a.EndsAt:
	case resolved && o.EndsAt <= now, !resolved && !o.Timeout:
		a.EndsAt = o.EndsAt
	}
}

// share takes the labels from old, and the annotations where they are the same, so that an alert which is
// reported again and again is in memory once.
func (a *ActiveAlert) share(old *ActiveAlert) {
	a.Fingerprint, a.Labels = old.Fingerprint, old.Labels
	if labels.Equal(a.Annotations, old.Annotations) {
		a.Annotations = old.Annotations
	}
	if a.GeneratorURL == old.GeneratorURL {
		a.GeneratorURL = old.GeneratorURL
	}
}

// MergeChange takes in what a rule of ours reports at an instant, in the row seq of the log. old is what is
// known of the label set; it returns nil where nothing is known and nothing fires.
func MergeChange(old *ActiveAlert, c AlertChange, at time.Time, seq int64) *ActiveAlert {
	if old == nil {
		if c.Status != ChangeFiring {
			return nil
		}
		old = &ActiveAlert{Fingerprint: AlertFingerprint(c.Labels), Labels: c.Labels}
	}
	a := *old
	a.Seq = seq
	switch c.Status {
	case ChangeFiring:
		a.reported(old, c, at)
	case ChangeResolved:
		a.Rules = slices.DeleteFunc(slices.Clone(old.Rules), func(r AlertChange) bool { return r.Source == c.Source })
		if len(a.Rules) == 0 {
			a.Rules = nil
		}
		if len(old.Rules) > 0 && !a.Firing(at) { // over: since now, whatever was posted before
			a.EndsAt, a.UpdatedAt, a.Timeout = at.UnixMicro(), at.UnixMicro(), false
		}
	}
	return &a
}

func (a *ActiveAlert) reported(old *ActiveAlert, c AlertChange, at time.Time) {
	starts := c.StartsAt.UnixMicro()
	if c.StartsAt.IsZero() {
		starts = at.UnixMicro()
	}
	if old.Firing(at) {
		starts = min(starts, old.StartsAt)
	} else {
		a.ReceivedAt = at.UnixMicro()
	}
	a.StartsAt, a.UpdatedAt = starts, at.UnixMicro()
	a.GeneratorURL = c.GeneratorURL
	a.Annotations = labels.FromMap(c.Annotations)
	a.share(old)
	a.Rules = slices.Clone(old.Rules)
	i := slices.IndexFunc(a.Rules, func(r AlertChange) bool { return r.Source == c.Source })
	if i < 0 {
		a.Rules = append(a.Rules, c)
		return
	}
	if maps.Equal(a.Rules[i].Annotations, c.Annotations) {
		c.Annotations = a.Rules[i].Annotations
	}
	a.Rules[i] = c
}
