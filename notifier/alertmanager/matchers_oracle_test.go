package alertmanager

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/alertmanager/matcher/compat"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"

	"tocsin/oncall"
)

// FuzzMatchers: in each mode we read what Alertmanager reads, refuse what it refuses, and what was read can be
// written and read again.
func FuzzMatchers(f *testing.F) {
	for _, s := range []string{
		"", "{}", "{", "}", ",", "{,}", "a=b", "{a=b}", "{a=b", "a=b}", "a=b,", "{a=b,}", `{a="b"}`, `a="b",c!="d"`, `{a=~"b|c",d!~"e.*"}`, `a="b" , c = d `,
		`{quote="She said: \"Hi, ladies!\""}`, `a=b,c`, `a==b`, `"a"="b"`, `"größe"="x"`, `größe=x`, `{größe=~"x.*"}`, `{"with space"!="y"}`, `a=[b`, `a=~[b`, `a="\n"`, `a='b'`,
		"a=`b`", `a="\u00e9"`, `a=🙂`, `a=\`, `a="\`, `a=b\,c`, `a="b\\"`, "a=\xff", "\xff=a", `a="\xff"`, `a=~"a)|(b"`, `a=~"\Q"`, `{{a=b}}`, "a=b\n", "\ta=b", `a=b c`, `a="b"c="d"`,
		`status=~5..`, `path=/api/v1`, `foo:bar=x`, `0a=b`, `a=b=c`, `a!=`, `a=""`, `a=`, `__name__="x"`, strings.Repeat("a=b,", 300),
	} {
		f.Add(s)
	}
	modes := map[oncall.MatcherMode]struct {
		all compat.ParseMatchers
		one compat.ParseMatcher
	}{
		oncall.MatchersFallback:   {compat.FallbackMatchersParser(slog.New(slog.DiscardHandler)), compat.FallbackMatcherParser(slog.New(slog.DiscardHandler))},
		oncall.MatchersClassic:    {compat.ClassicMatchersParser(slog.New(slog.DiscardHandler)), compat.ClassicMatcherParser(slog.New(slog.DiscardHandler))},
		oncall.MatchersUTF8Strict: {compat.UTF8MatchersParser(slog.New(slog.DiscardHandler)), compat.UTF8MatcherParser(slog.New(slog.DiscardHandler))},
	}
	f.Fuzz(func(t *testing.T, input string) {
		for mode, theirs := range modes {
			got, err := oncall.ParseMatchers(input, mode)
			want, theirErr := theirs.all(input, "test")
			sameOutcome(t, input, mode, got, err, want, theirErr)

			one, err := oncall.ParseMatcher(input, mode)
			theirOne, theirErr := theirs.one(input, "test")
			sameOutcome(t, input, mode, only(one), err, only(theirOne), theirErr)
		}
	})
}

func only(m *amlabels.Matcher) amlabels.Matchers {
	if m == nil {
		return nil
	}
	return amlabels.Matchers{m}
}

func sameOutcome(t *testing.T, input string, mode oncall.MatcherMode, got amlabels.Matchers, err error, want amlabels.Matchers, theirErr error) {
	t.Helper()
	if (err == nil) != (theirErr == nil) || err == nil && !oncall.SameMatchers(got, want) {
		t.Errorf("mode %d, %q: %s, %v; Alertmanager: %s, %v", mode, input, got, err, want, theirErr)
	}
	if err != nil && (err.Error() != theirErr.Error() || oncall.ErrorCode(err) != oncall.CodeInvalid) {
		t.Errorf("mode %d, %q: %v (%s); Alertmanager: %v", mode, input, err, oncall.ErrorCode(err), theirErr)
	}
}
