package alertmanagers

import (
	"strings"
	"testing"
	"time"

	"tocsin/problem"
)

func TestDecodeConfigs(t *testing.T) {
	d, _ := problem.Parse("tocsin.yml", []byte("[{url: http://a:9093/am/}, {url: https://b, timeout: 3s}]"))
	configs, problems := DecodeConfigs(d, d.Root)
	if len(problems) > 0 || len(configs) != 2 || configs[0].URL.String() != "http://a:9093/am" || configs[0].Timeout != DefaultTimeout || configs[1].Timeout != 3*time.Second {
		t.Errorf("%v %+v", problems, configs)
	}
	for text, want := range map[string]string{
		"{url: http://a}":                        "1:1: expected a list, found a mapping",
		"[{}]":                                   "1:2: an Alertmanager needs a url",
		"[x]":                                    `1:2: expected a mapping of keys to values, found "x"`,
		"[{url: http://a},\n {url: http://a/}]":  "2:8: this Alertmanager is given twice: it would get every alert twice (the first one is on line 1)",
		"[{url: http://a/api/v2/alerts}]":        "1:8: the URL must end before /api/v2",
		"[{static_configs: [{targets: [a]}]}]":   "list each Alertmanager with its url",
		"[{url: http://a, dns_sd_configs: []}]":  "list each Alertmanager with its url",
		"[{url: http://a, path_prefix: /x}]":     "it is part of the url here",
		"[{url: http://a, api_version: v2}]":     "it is always v2: remove it",
		"[{url: http://a, relabel_configs: []}]": "set labels in the rules",
		"[{url: 'http://a?x=y'}]":                "the URL must have no query",
		"[{url: http://a, password: hunter2}]":   "it belongs below basic_auth",
	} {
		d, _ := problem.Parse("tocsin.yml", []byte(text))
		_, problems := DecodeConfigs(d, d.Root)
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
}
