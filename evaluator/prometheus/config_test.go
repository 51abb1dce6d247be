package prometheus

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tocsin/problem"
)

func decodeText(text string) ([]Config, problem.List) {
	d, problems := problem.Parse("tocsin.yml", []byte(text))
	configs, l := DecodeConfigs(d, d.Root)
	return configs, append(problems, l...)
}

func TestDecodeConfigs(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"url: http://a", "default http://a auto"},
		{"{name: shop, url: http://a, compression: off}", "shop http://a off"},
		{"[{name: shop, url: http://a}, {name: till, url: http://b, compression: on}]", "shop http://a auto, till http://b on"},
		{"[{name: shop, url: http://a}, {name: default, url: http://b/}]", "default http://b auto, shop http://a auto"},
		{"[{name: shop, url: http://a, compression: true}, {name: till, url: http://b, compression: false}]", "shop http://a on, till http://b off"},
	} {
		configs, problems := decodeText(c.text)
		if len(problems) > 0 {
			t.Errorf("%s: %v", c.text, problems)
			continue
		}
		var got []string
		for _, c := range configs {
			got = append(got, c.Name+" "+c.URL.String()+" "+c.Compression)
			if c.Timeout != DefaultTimeout || c.ExternalURL == nil {
				t.Errorf("%+v", c)
			}
		}
		if diff := cmp.Diff(c.want, strings.Join(got, ", ")); diff != "" {
			t.Error(diff)
		}
	}
	if c, problems := decodeText("{url: http://a, external_url: https://b/graph/}"); len(problems) > 0 || c[0].ExternalURL.String() != "https://b/graph" {
		t.Error(c, problems)
	}
}

func TestDecodeBadConfigs(t *testing.T) {
	for text, want := range map[string]string{
		"[]":                               "1:1: prometheus lists no backend",
		"x":                                `1:1: expected a mapping of keys to values, found "x"`,
		"[x]":                              `1:2: expected a mapping of keys to values, found "x"`,
		"[{url: http://a}]":                "1:2: this backend has no name (rule groups name it: prometheus: …)",
		"[{name: '', url: http://a}]":      "1:9: a backend's name must be plain text",
		"{name: \"a\\tb\", url: http://a}": "1:8: a backend's name must be plain text",
		"[{name: a, url: http://a},\n {name: a, url: http://b}]": `2:9: backend "a" is given twice (the first one is on line 1)`,
		"[{name: [a], url: http://a}]":                           "1:9: expected a string, found a list",
		"[{name: a}]":                                            "1:2: prometheus needs a url",
		"{url: http://a, compression: gzip}":                     "1:30: expected auto, on or off",
		"{url: http://a, compression: [on]}":                     "1:30: expected auto, on or off",
		"{url: http://a, external_url: b}":                       "1:31: expected a URL",
		"{url: http://a, compresion: off}":                       `did you mean "compression"?`,
	} {
		_, problems := decodeText(text)
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
}
