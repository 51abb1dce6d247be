package pagertest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
)

// errReset is what a client sees of a connection that broke after its request was sent.
var errReset = errors.New("connection reset by peer")

// RoundTrip answers a request without a network, so that a page can be sent inside a synctest bubble. It
// hangs only as long as the request's context lasts.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) { return through(s, r) }

// through has a handler answer a client's request.
func through(h http.Handler, r *http.Request) (res *http.Response, err error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context()) // the request proper belongs to the client
	if in.Body == nil {
		in.Body = http.NoBody
	}
	if r.URL.Path == "" {
		in.URL.Path = "/"
	}
	in.RequestURI = (&url.URL{Path: in.URL.Path, RawQuery: in.URL.RawQuery}).String()
	out := httptest.NewRecorder()
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			res, err = nil, errReset
		default:
			panic(v)
		}
	}()
	h.ServeHTTP(out, in)
	_ = in.Body.Close() // as a transport must
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return out.Result(), nil
}
