package outgoing

import (
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "7", "-1", "99999999999999999999", "Sat, 01 Jan 2000 00:00:30 GMT", "1.5", " 5 ", "Sat, 01 Jan 9999 00:00:30 GMT"} {
		f.Add(s)
	}
	now := time.Unix(946684800, 0)
	f.Fuzz(func(t *testing.T, s string) {
		if d := RetryAfter(s, now); d < 0 || d > maxRetryAfter {
			t.Errorf("%q holds back for %s", s, d)
		}
	})
}

func FuzzExcerpt(f *testing.F) {
	for _, s := range []string{"", "ok", " a \x00\x1b[31m b\r\n", "\xff\xfe", "é\u202e\u0085x", "\uFFFD"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Excerpt(s)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxExcerpt {
			t.Errorf("excerpt of %q is %q", s, got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("excerpt of %q holds %q", s, r)
			}
		}
	})
}
