package remotewrite

import (
	"strings"
	"testing"
	"time"

	"tocsin/problem"
)

func TestDecodeConfig(t *testing.T) {
	for text, want := range map[string]string{
		"{url: 'http://127.0.0.1:9090/api/v1/write?extra_label=a=b', timeout: 5s, headers: {X-Scope-OrgID: t}}": "",
		"[{url: http://a}]":                   "1:1: remote_write is one far end here, not a list",
		"{}":                                  "1:1: remote_write needs a url",
		"x":                                   `1:1: expected a mapping of keys to values, found "x"`,
		"{url: http://a, remote_timeout: 1s}": "it is called timeout here",
		"{url: http://a, queue_config: {}}":   `unknown key "queue_config" (tocsin writes what its rules say as it is: remove it)`,
		"{url: http://a, http_config: {}}":    "beside url",
		"{url: http://u:hunter2@a}":           "must hold no user and password",
		"{url: http://a, timeot: 1s}":         `did you mean "timeout"?`,
	} {
		d, problems := problem.Parse("tocsin.yml", []byte(text))
		c, l := DecodeConfig(d, d.Root)
		switch err := append(problems, l...).Err(); {
		case want == "" && (err != nil || c.URL.RawQuery == "" || c.Timeout != 5*time.Second || c.Headers["X-Scope-OrgID"] != "t"):
			t.Errorf("%s: %v %+v", text, err, c)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
}
