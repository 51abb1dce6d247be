package httpconf

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"
	"time"

	"tocsin/problem"
)

// section is a package's own block, as those that use this package write it.
type section struct {
	Own   string `yaml:"own"`
	Block `yaml:",inline"`
}

func decode(text string, base bool) (Config, problem.List, *problem.Document) {
	d, problems := problem.Parse("tocsin.yml", []byte(text))
	d.Read = func(file string) ([]byte, error) {
		if file == "pw" {
			return []byte("hunter2"), nil
		}
		return nil, &fs.PathError{Op: "open", Path: file, Err: fs.ErrNotExist}
	}
	b := section{Block: NewBlock()}
	problems = append(problems, d.Decode(d.Root, &b)...)
	c, l := b.Config(d, d.Root, Need{Section: "far_end", Example: "http://x", Base: base, Timeout: time.Minute}, len(problems.Errors()) == 0)
	return c, append(problems, l...), d
}

func TestConfig(t *testing.T) {
	c, problems, _ := decode("{own: x, url: http://h/a/, timeout: 3s, headers: {X-Scope-OrgID: t}, basic_auth: {username: u, password_file: pw}, enable_http2: false}", true)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if c.URL.String() != "http://h/a" || c.Timeout != 3*time.Second || c.Headers["X-Scope-OrgID"] != "t" || c.HTTP.BasicAuth.Username != "u" ||
		c.HTTP.EnableHTTP2 || !c.HTTP.FollowRedirects {
		t.Errorf("%+v", c)
	}
	c, problems, _ = decode("url: http://h/a/?extra=1", false)
	if len(problems) > 0 || c.URL.String() != "http://h/a/?extra=1" || c.Timeout != time.Minute || c.HTTP.BasicAuth != nil {
		t.Errorf("%+v %v", c, problems)
	}
}

func TestBad(t *testing.T) {
	for text, want := range map[string]string{
		"{own: x}":                                         "1:1: far_end needs a url (such as url: http://x)",
		"url: h:9090":                                      "1:6: expected a URL such as http://127.0.0.1:9090",
		"url: http://u:hunter2@h":                          "1:6: the URL must hold no user and password",
		"url: http://h?a=b":                                "1:6: the URL must have no query (?…)",
		"{url: http://h, timeout: 0s}":                     "1:26: timeout must be above 0",
		"{url: http://h, timeout: 3}":                      "1:26: expected a duration such as 30s",
		"{url: http://h, headers: {a b: c}}":               `"a b" is no header name`,
		"{url: http://h, headers: {Host: c}}":              "the header Host cannot be set here",
		"{url: http://h, headers: {a: b, A: c}}":           "the header A is given twice",
		"{url: http://h, headers: {a: \"b\\nhunter2\"}}":   "the value of the header A must be one line of text",
		"{url: http://h, http_config: {}}":                 "write its keys (basic_auth, tls_config, …) beside url",
		"{url: http://h, password: hunter2}":               "it belongs below basic_auth",
		"{url: http://h, basic_auth: {password_file: no}}": "cannot read the file no: it does not exist",
		"{url: http://h, basic_auth: {username: u}, authorization: {type: Foo}}": "the HTTP client settings do not work",
		"{url: http://h, tls_config: {key: hunter2}}":                            "exactly one of cert or cert_file must be configured",
		"{url: http://h, ulr: x}":                                                `did you mean "url"?`,
		"[]":                                                                     "expected a mapping of keys to values, found a list",
	} {
		_, problems, _ := decode(text, true)
		var shown bytes.Buffer
		problems.Print(&shown)
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(shown.String(), "hunter2") {
			t.Errorf("%s\n got %s\nwant %s", text, shown.String(), want)
		}
	}
}
