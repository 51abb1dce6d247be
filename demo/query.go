package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// answer is the envelope of Prometheus' HTTP API.
type answer struct {
	Status    string   `json:"status"`
	Data      any      `json:"data,omitempty"`
	ErrorType string   `json:"errorType,omitempty"`
	Error     string   `json:"error,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
	Infos     []string `json:"infos,omitempty"`
}

// queryData is the data of an answered query.
type queryData struct {
	ResultType parser.ValueType `json:"resultType"`
	Result     parser.Value     `json:"result"`
}

// queryHandler serves the part of Prometheus' query API that tocsin and a curious visitor use. current
// returns the metrics of the present run; they change when the story starts again.
func queryHandler(current func() *metrics) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/query", func(w http.ResponseWriter, r *http.Request) {
		m := current()
		ts, err := timeParam(r, "time", time.Now())
		if err != nil {
			writeAnswer(w, http.StatusBadRequest, answer{ErrorType: "bad_data", Error: err.Error()})
			return
		}
		execute(w, r, m, func(ctx context.Context) (promql.Query, error) {
			return m.engine.NewInstantQuery(ctx, m.db, nil, r.FormValue("query"), ts)
		})
	})
	mux.HandleFunc("/api/v1/query_range", func(w http.ResponseWriter, r *http.Request) {
		m := current()
		start, end, step, err := rangeParams(r)
		if err != nil {
			writeAnswer(w, http.StatusBadRequest, answer{ErrorType: "bad_data", Error: err.Error()})
			return
		}
		execute(w, r, m, func(ctx context.Context) (promql.Query, error) {
			return m.engine.NewRangeQuery(ctx, m.db, nil, r.FormValue("query"), start, end, step)
		})
	})
	mux.HandleFunc("GET /api/v1/labels", func(w http.ResponseWriter, r *http.Request) {
		names, err := current().labelNames(r.Context())
		if err != nil {
			writeAnswer(w, http.StatusInternalServerError, answer{ErrorType: "internal", Error: err.Error()})
			return
		}
		writeAnswer(w, http.StatusOK, answer{Data: names})
	})
	mux.HandleFunc("GET /api/v1/status/buildinfo", func(w http.ResponseWriter, _ *http.Request) {
		writeAnswer(w, http.StatusOK, answer{Data: map[string]string{"version": "tocsin demo"}})
	})
	return mux
}

// execute runs a query and writes its result, or the error that Prometheus would answer.
func execute(w http.ResponseWriter, r *http.Request, m *metrics, prepare func(context.Context) (promql.Query, error)) {
	ctx := r.Context()
	if d, err := durationParam(r, "timeout"); err == nil && d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	q, err := prepare(ctx)
	if err != nil {
		writeAnswer(w, http.StatusBadRequest, answer{ErrorType: "bad_data", Error: fmt.Sprintf("invalid parameter %q: %v", "query", err)})
		return
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		status, kind := errorKind(res.Err)
		writeAnswer(w, status, answer{ErrorType: kind, Error: res.Err.Error()})
		return
	}
	warnings, infos := res.Warnings.AsStrings(r.FormValue("query"), 10, 10)
	writeAnswer(w, http.StatusOK, answer{
		Data: queryData{ResultType: res.Value.Type(), Result: res.Value}, Warnings: warnings, Infos: infos,
	})
}

// errorKind classifies an error of the engine as Prometheus' API does.
func errorKind(err error) (status int, kind string) {
	var canceled promql.ErrQueryCanceled
	var timeout promql.ErrQueryTimeout
	var storageErr promql.ErrStorage
	switch {
	case errors.As(err, &canceled):
		return 499, "canceled"
	case errors.As(err, &timeout):
		return http.StatusServiceUnavailable, "timeout"
	case errors.As(err, &storageErr):
		return http.StatusInternalServerError, "internal"
	default:
		return http.StatusUnprocessableEntity, "execution"
	}
}

func writeAnswer(w http.ResponseWriter, status int, a answer) {
	a.Status = "success"
	if a.ErrorType != "" {
		a.Status = "error"
	}
	body, err := json.Marshal(a)
	if err != nil {
		status = http.StatusInternalServerError
		body = []byte(`{"status":"error","errorType":"internal","error":"the result has no JSON form"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client is gone if this fails
}

// timeParam reads unix seconds or RFC 3339, as Prometheus does.
func timeParam(r *http.Request, name string, missing time.Time) (time.Time, error) {
	v := r.FormValue(name)
	if v == "" {
		return missing, nil
	}
	if f, err := strconv.ParseFloat(v, 64); err == nil && !math.IsNaN(f) && math.Abs(f) < 1e11 {
		return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("invalid parameter %q: cannot parse %q to a valid timestamp", name, v)
}

// durationParam reads seconds or a Prometheus duration; absent is zero.
func durationParam(r *http.Request, name string) (time.Duration, error) {
	v := r.FormValue(name)
	if v == "" {
		return 0, nil
	}
	if f, err := strconv.ParseFloat(v, 64); err == nil && math.Abs(f) < 1e9 {
		return time.Duration(f * float64(time.Second)), nil
	}
	if d, err := model.ParseDuration(v); err == nil {
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("invalid parameter %q: cannot parse %q to a valid duration", name, v)
}

func rangeParams(r *http.Request) (start, end time.Time, step time.Duration, err error) {
	for _, p := range []string{"start", "end", "step"} {
		if r.FormValue(p) == "" {
			return start, end, step, fmt.Errorf("invalid parameter %q: it is missing", p)
		}
	}
	if start, err = timeParam(r, "start", start); err != nil {
		return start, end, step, err
	}
	if end, err = timeParam(r, "end", end); err != nil {
		return start, end, step, err
	}
	if step, err = durationParam(r, "step"); err != nil {
		return start, end, step, err
	}
	switch {
	case end.Before(start):
		err = errors.New(`invalid parameter "end": end timestamp must not be before start time`)
	case step <= 0:
		err = errors.New(`invalid parameter "step": zero or negative query resolution step widths are not accepted`)
	case end.Sub(start)/step > 11000:
		err = errors.New("exceeded maximum resolution of 11,000 points per timeseries")
	}
	return start, end, step, err
}
