package outgoing

import (
	"strings"
	"testing"

	"tocsin/problem"
)

func TestDecodePolicy(t *testing.T) {
	for text, want := range map[string]string{
		"allow_private: true": "", "allow: [10.0.0.0/8, 'fd00::/8', 192.168.1.7]": "",
		"allow: [10.0.0.1/8]":            `did you mean "10.0.0.0/8"?`,
		"allow: [sms.internal]":          "such as 10.0.0.0/8",
		"allow: ['::ffff:10.0.0.0/104']": "written as IPv6",
		"allow_privat: true":             "allow_private",
		"allow: 10.0.0.0/8":              "list",
	} {
		d, l := problem.Parse("tocsin.yml", []byte(text))
		if len(l) > 0 {
			t.Fatal(l)
		}
		_, l = DecodePolicy(d, d.Root)
		var b strings.Builder
		l.Print(&b)
		if (want == "") != (len(l) == 0) || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %s, want %q", text, b.String(), want)
		}
	}
}

func TestDecodeSettings(t *testing.T) {
	for text, want := range map[string]string{
		"{}": "", "allow_private: true": "", "follow_redirects: true": "do not follow redirects",
		"proxy_url: http://proxy.example:3128": "", "basic_auth: {username: a, password_file: /nowhere/at/all}": "/nowhere/at/all",
		"no_proxy: a.example": "proxy_url must also be configured", "alow_private: true": "allow_private",
	} {
		d, l := problem.Parse("tocsin.yml", []byte(text))
		if len(l) > 0 {
			t.Fatal(l)
		}
		s, l := DecodeSettings(d, d.Root)
		var b strings.Builder
		l.Print(&b)
		if (want == "") != (len(l) == 0) || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %s, want %q", text, b.String(), want)
		}
		if s.HTTP.FollowRedirects || s.AllowPrivate != (text == "allow_private: true") {
			t.Errorf("%s: %+v", text, s)
		}
	}
}
