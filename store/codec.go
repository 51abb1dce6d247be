package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// micros is an instant as stored: microseconds since 1970, rounded down, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// dueMicros is micros rounded up, for the column beside a document that keeps the instant exactly: what is
// due at t must not be found before t, or a loop that is told so would spin until t has come.
func dueMicros(t time.Time) int64 {
	m := micros(t)
	if m != 0 && t.Nanosecond()%1000 != 0 {
		m++
	}
	return m
}

func fromMicros(m int64) time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(m).UTC()
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode %T: %w", v, err)
	}
	return string(b), nil
}

func decode(doc string, v any) error {
	if err := json.Unmarshal([]byte(doc), v); err != nil {
		return fmt.Errorf("decode a stored %T: %w", v, err)
	}
	return nil
}

func encodeFloat(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func decodeFloat(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return math.NaN()
	}
	return f
}

// maxIndexed is how long a text may be to be used in an index as it is; PostgreSQL refuses long ones.
const maxIndexed = 256

// indexed returns s, or a hash of it where s is too long for an index.
func indexed(s string) string {
	if len(s) <= maxIndexed {
		return s
	}
	return hash(s)
}

func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)[:16])
}

// clean makes a text storable: PostgreSQL refuses NUL and what is not UTF-8, and far ends answer both.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
}
