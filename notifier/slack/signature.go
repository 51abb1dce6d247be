package slack

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxBody         = 1 << 20
	signatureWindow = 5 * time.Minute
)

// signed is a request that Slack signed.
type signed struct {
	body []byte
	id   string // identity of the request: the same for a replay, different for everything else
}

// callback reads and checks a request before next sees it. What is not from Slack changes nothing.
func (a *Adapter) callback(endpoint string, next func(http.ResponseWriter, *http.Request, signed)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cw := &codeWriter{ResponseWriter: w, code: http.StatusOK}
		defer func() { a.asked.WithLabelValues(endpoint, strconv.Itoa(cw.code)).Inc() }()
		if r.Method != http.MethodPost {
			cw.Header().Set("Allow", http.MethodPost)
			fail(cw, http.StatusMethodNotAllowed, "this address takes POST requests from Slack only")
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(cw, r.Body, maxBody))
		if err != nil {
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				fail(cw, http.StatusRequestEntityTooLarge, "the body is over 1 MiB")
				return
			}
			fail(cw, http.StatusBadRequest, "the body could not be read")
			return
		}
		id, err := verify(r.Header, body, a.cfg.SigningSecret, time.Now())
		if err != nil {
			a.log.Warn("A request to a Slack endpoint was turned away", "endpoint", endpoint, "err", err)
			fail(cw, http.StatusUnauthorized, err.Error())
			return
		}
		next(cw, r, signed{body: body, id: id})
	})
}

// verify checks Slack's signature, version v0, and returns the identity of the request. The identity is
// made from the signature as bytes: the same signature in other letters is the same request.
func verify(h http.Header, body []byte, secret string, now time.Time) (id string, err error) {
	if secret == "" {
		return "", errors.New("no signing secret is configured")
	}
	stamp := h.Get("X-Slack-Request-Timestamp")
	sig, v0 := strings.CutPrefix(h.Get("X-Slack-Signature"), "v0=")
	got, err := hex.DecodeString(sig)
	if stamp == "" || !v0 || err != nil || len(got) != sha256.Size {
		return "", errors.New("the request carries no valid Slack signature")
	}
	mac := hmac.New(sha256.New, []byte(secret))
	io.WriteString(mac, "v0:"+stamp+":")
	mac.Write(body)
	if !hmac.Equal(mac.Sum(nil), got) {
		return "", errors.New("the request's signature does not match; check slack.signing_secret_file")
	}
	sec, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return "", errors.New("the request's timestamp is no number")
	}
	if age := now.Sub(time.Unix(sec, 0)); age.Abs() > signatureWindow {
		return "", errors.New("the request's timestamp is more than 5 minutes off; check this machine's clock")
	}
	sum := sha256.Sum256(got)
	return "slack:" + hex.EncodeToString(sum[:16]), nil
}

func fail(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": message}) // the peer is gone: nobody to tell
}

// codeWriter remembers the status for the metric.
type codeWriter struct {
	http.ResponseWriter
	code int
}

func (w *codeWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the writer behind.
func (w *codeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
