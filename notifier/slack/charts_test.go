package slack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/notifier/chart"
	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

const (
	memoryExpr = "session_memory_bytes / session_memory_limit_bytes > 0.8"
	leakExpr   = "predict_linear(session_memory_bytes[10m], 40 * 60) / session_memory_limit_bytes > 1"
)

// evidenced gives changes the evidence that the evaluator writes.
func evidenced(cs []oncall.AlertChange, expr string) []oncall.AlertChange {
	for i := range cs {
		cs[i].Evidence = oncall.Evidence{Group: "session", File: "rules.yml", Expr: expr, Backend: "http://prometheus.example", At: cs[i].At, Value: cs[i].Value,
			Metric: labels.FromStrings("instance", cs[i].Labels.Get("instance")), For: 2 * time.Minute}
	}
	return cs
}

// source answers with lines that rise from half to 0.85, one for each of n instances.
type source struct {
	mu    sync.Mutex
	n     int
	fails []error // of the next questions
	asked []string
	since time.Time // no data before
}

func (s *source) Series(_ context.Context, of oncall.Evidence, expr string, from, to time.Time, step time.Duration) ([]chart.Series, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, fmt.Sprintf("%s %s %s", expr, to.Sub(from), step))
	if len(s.fails) > 0 {
		err := s.fails[0]
		s.fails = s.fails[1:]
		if err != nil {
			return nil, err
		}
	}
	if of.Backend == "" {
		return nil, errors.New("no backend")
	}
	var out []chart.Series
	for i := range s.n {
		x := chart.Series{Labels: labels.FromStrings("__name__", "m", "instance", fmt.Sprintf("session-%d:9100", i+1))}
		for at := from; !at.After(to); at = at.Add(step) {
			if !at.Before(s.since) {
				x.Points = append(x.Points, chart.Point{At: at, Value: 0.5 + 0.35*float64(at.Sub(from))/float64(to.Sub(from)) - 0.05*float64(i)})
			}
		}
		if len(x.Points) > 0 {
			out = append(out, x)
		}
	}
	return out, nil
}

func chartMessage(in oncall.Incident, thread string) notifier.Message {
	return notifier.Message{Incident: in, Thread: thread, Delivery: oncall.Delivery{
		Key: "msg_2", Incident: in.Number, Endpoint: "chart:#session-alerts", Kind: oncall.KindChart, Attempts: 1, Body: []byte("{}")}}
}

func TestChartIsPostedIntoTheThread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		src := &source{n: 3}
		w.series = src
		in := open(42, time.Now(), evidenced(fire(1, time.Now()), memoryExpr))
		posted := w.Send(t.Context(), message("#session-alerts", in))
		at := w.Send(t.Context(), chartMessage(in, posted.Remote))
		if at.Outcome != oncall.OutcomeDelivered || at.Status != 200 || at.Error != "" {
			t.Fatalf("%+v", at)
		}
		if want := []string{"session_memory_bytes / session_memory_limit_bytes 3h0m0s 45s"}; !slices.Equal(src.asked, want) {
			t.Errorf("asked %q", src.asked)
		}
		channel, ts, _ := strings.Cut(posted.Remote, "/")
		thread := w.slack.Thread(channel, ts)
		if len(thread) != 1 || len(thread[0].Files) != 1 || thread[0].Broadcast {
			t.Fatalf("the thread holds %+v", thread)
		}
		f := thread[0].Files[0]
		for _, want := range []string{"session-1:9100 rose from 50 % to 85 %", "2 more series", "Fires above 80 %"} {
			if !strings.Contains(f.Alt, want) {
				t.Errorf("the alternative text %q does not say %q", f.Alt, want)
			}
		}
		if thread[0].Text != "📈 session-1:9100 at 85 %" {
			t.Errorf("the caption is %q", thread[0].Text)
		}
		if _, err := png.Decode(bytes.NewReader(f.Data)); err != nil || len(f.Data) > 120<<10 {
			t.Errorf("%d bytes: %v", len(f.Data), err)
		}
	})
}

func TestChartFailures(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(*workspace, *source)
		thread string // "": as posted
		expr   string
		want   oncall.Outcome
		says   string
		posted bool
	}{
		"no message":             {thread: "none", want: oncall.OutcomeRefused, says: "no message"},
		"no source":              {spoil: func(w *workspace, _ *source) { w.series = nil }, want: oncall.OutcomeRefused, says: "nobody can be asked"},
		"nothing to draw":        {expr: "absent(up)", want: oncall.OutcomeRefused, says: "nothing to draw"},
		"no data":                {spoil: func(_ *workspace, s *source) { s.n = 0 }, want: oncall.OutcomeRefused, says: "no data"},
		"no backend":             {spoil: func(_ *workspace, s *source) { s.fails = []error{errors.New("prometheus did not answer in time")} }, want: oncall.OutcomeRetry, says: "did not answer"},
		"limited":                {spoil: chartFails("files.getUploadURLExternal", slacktest.Fault{Stage: slacktest.Before, Status: 429, RetryAfter: 3 * time.Second}), want: oncall.OutcomeRetry, says: "rate limit"},
		"no scope":               {spoil: chartFails("files.getUploadURLExternal", slacktest.Fault{Stage: slacktest.Before, Error: "missing_scope"}), want: oncall.OutcomeRefused, says: "missing_scope"},
		"reset before":           {spoil: chartFails("files.getUploadURLExternal", slacktest.Fault{Stage: slacktest.During}), want: oncall.OutcomeRetry},
		"upload fails":           {spoil: chartFails("upload", slacktest.Fault{Stage: slacktest.Before, Status: 503}), want: oncall.OutcomeRetry, says: "503"},
		"upload refused":         {spoil: chartFails("upload", slacktest.Fault{Stage: slacktest.Before, Status: 413}), want: oncall.OutcomeRefused, says: "413"},
		"upload reset":           {spoil: chartFails("upload", slacktest.Fault{Stage: slacktest.During}), want: oncall.OutcomeRetry},
		"perhaps posted":         {spoil: chartFails("files.completeUploadExternal", slacktest.Fault{Stage: slacktest.During}), want: oncall.OutcomeUnknown, posted: true},
		"posting limited":        {spoil: chartFails("files.completeUploadExternal", slacktest.Fault{Stage: slacktest.Before, Error: "ratelimited"}), want: oncall.OutcomeRetry},
		"address of a stranger":  {spoil: func(w *workspace, _ *source) { w.slack.SetURL("http://169.254.169.254") }, want: oncall.OutcomeRefused, says: "not Slack's"},
		"too many series at all": {spoil: func(_ *workspace, s *source) { s.fails = []error{chart.ErrTooMany} }, want: oncall.OutcomeDelivered, posted: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorkspace(t, newActs(), nil)
				src := &source{n: 2}
				w.series = src
				expr := c.expr
				if expr == "" {
					expr = memoryExpr
				}
				in := open(42, time.Now(), evidenced(fire(1, time.Now()), expr))
				posted := w.Send(t.Context(), message("#session-alerts", in))
				thread := posted.Remote
				if c.thread != "" {
					thread = ""
				}
				if c.spoil != nil {
					c.spoil(w, src)
				}
				at := w.Send(t.Context(), chartMessage(in, thread))
				if at.Outcome != c.want || !strings.Contains(at.Error, c.says) || strings.Contains(at.Error, secretToken) || strings.Contains(at.Error, "/upload/") {
					t.Errorf("%+v, want %s, %q", at, c.want, c.says)
				}
				channel, ts, _ := strings.Cut(posted.Remote, "/")
				if n := len(w.slack.Thread(channel, ts)); (n > 0) != c.posted {
					t.Errorf("%d in the thread", n)
				}
			})
		})
	}
}

// TestChartsOfAStorm: what has waited too long behind others asks nobody for data any more.
func TestChartsOfAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		src := &source{n: 1}
		w.series = src
		m := chartMessage(open(42, time.Now(), evidenced(fire(1, time.Now()), memoryExpr)), "C1/1.0")
		m.Delivery.CreatedAt = time.Now().Add(-chartLate - time.Minute)
		if at := w.Send(t.Context(), m); at.Outcome != oncall.OutcomeRefused || at.Error != "it had waited for 11m behind other charts" || len(src.asked) != 0 {
			t.Errorf("%+v, asked %q", at, src.asked)
		}
	})
}

func chartFails(method string, f slacktest.Fault) func(*workspace, *source) {
	f.Method = method
	return func(w *workspace, _ *source) { w.slack.Fail(f) }
}

func fill(t *testing.T, in oncall.Incident, src *source, now time.Time) *chart.Chart {
	t.Helper()
	pl, ok := newPlot(in, testPolicy(), now)
	if !ok {
		t.Fatal("nothing to draw")
	}
	c, err := pl.fill(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPlot(t *testing.T) {
	t.Run("the alerts are named, the others are faint, what is left is counted", func(t *testing.T) {
		c := fill(t, open(1, t0, evidenced(fire(2, t0), memoryExpr)), &source{n: 60}, t0)
		strong := 0
		for _, l := range c.Lines {
			if !l.Faint {
				strong++
			}
		}
		if strong != 2 || c.Lines[0].Name != "session-1:9100" || c.More != 60-2-chartFaint || len(c.Lines) != 2+chartFaint {
			t.Errorf("%d strong, %d lines, %d more, first %q", strong, len(c.Lines), c.More, c.Lines[0].Name)
		}
		if !c.Limited || c.Limit != 0.8 || !c.Above || c.Unit != chart.Ratio || !c.Firing.Equal(t0) || !c.Pending.Equal(t0.Add(-2*time.Minute)) || c.Forecast != nil {
			t.Errorf("%+v", c)
		}
	})
	t.Run("too many: the highest", func(t *testing.T) {
		src := &source{n: 8, fails: []error{chart.ErrTooMany}}
		fill(t, open(1, t0, evidenced(fire(1, t0), memoryExpr)), src, t0)
		if len(src.asked) != 2 || !strings.HasPrefix(src.asked[1], "topk(8, session_memory_bytes / session_memory_limit_bytes) ") {
			t.Errorf("asked %q", src.asked)
		}
	})
	t.Run("a leak leads somewhere until it is over", func(t *testing.T) {
		in := open(1, t0, evidenced(fire(1, t0), leakExpr))
		c := fill(t, in, &source{n: 2}, t0)
		if c.Forecast == nil || c.Forecast.Level != 1 || !c.Forecast.Reach.After(t0) || c.Forecast.Line != 0 {
			t.Fatalf("forecast %+v", c.Forecast)
		}
		gone := fire(1, t0)[0]
		gone.Status, gone.At = oncall.ChangeResolved, t0.Add(17*time.Minute)
		in = step(in, gone.At, oncall.AlertsChanged{Changes: []oncall.AlertChange{gone}})
		c = fill(t, in, &source{n: 2}, t0.Add(2*time.Hour))
		if c.Forecast != nil || !c.Resolved.Equal(gone.At) || !c.To.Equal(gone.At.Add(chartAfter)) {
			t.Errorf("%+v", c)
		}
	})
	t.Run("a threshold that is an expression", func(t *testing.T) {
		src := &source{n: 2}
		c := fill(t, open(1, t0, evidenced(fire(1, t0), "a_bytes > b_bytes")), src, t0)
		if len(c.Levels) != 1 || c.Limited || len(src.asked) != 2 {
			t.Errorf("%d levels, asked %q", len(c.Levels), src.asked)
		}
	})
}

func TestPlotSpan(t *testing.T) {
	t.Run("what is young fills the picture", func(t *testing.T) {
		src := &source{n: 1, since: t0.Add(-4 * time.Minute)}
		c := fill(t, open(1, t0, evidenced(fire(1, t0), memoryExpr)), src, t0)
		if len(src.asked) != 2 || c.To.Sub(c.From) > 6*time.Minute || c.Step > 2*time.Second {
			t.Errorf("asked %q, from %s", src.asked, c.From)
		}
	})
	t.Run("long ones stay within what may be asked", func(t *testing.T) {
		for _, d := range []time.Duration{0, time.Minute, time.Hour, 30 * time.Hour, 24 * 120 * time.Hour} {
			pl, _ := newPlot(open(1, t0, evidenced(fire(1, t0), memoryExpr)), testPolicy(), t0.Add(d))
			if n := pl.chart.To.Sub(pl.chart.From) / pl.chart.Step; n > 2*chartSteps || n < 30 || pl.chart.Step%time.Second != 0 {
				t.Errorf("after %s: %d points of %s", d, n, pl.chart.Step)
			}
		}
	})
}
