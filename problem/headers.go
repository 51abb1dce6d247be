package problem

import (
	"net/textproto"
	"strings"

	promconfig "github.com/prometheus/common/config"
)

// Headers checks HTTP headers that are added to each request. Problems do not repeat their values.
func Headers(headers map[string]At[string]) (map[string]string, List) {
	var problems List
	out := map[string]string{}
	seen := map[string]bool{}
	for name, value := range headers {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		_, reserved := promconfig.ReservedHeaders[canonical]
		switch {
		case name == "" || strings.ContainsFunc(name, notToken):
			problems = append(problems, value.Place.Errorf("%q is no header name", name))
		case reserved:
			problems = append(problems, value.Place.Errorf("the header %s cannot be set here", canonical).WithHint("for credentials use basic_auth or authorization"))
		case seen[canonical]:
			problems = append(problems, value.Place.Errorf("the header %s is given twice", canonical))
		case strings.ContainsFunc(value.Value, notText):
			problems = append(problems, value.Place.Errorf("the value of the header %s must be one line of text", canonical))
		}
		seen[canonical] = true
		out[name] = value.Value
	}
	return out, problems
}

// notToken reports characters that HTTP does not allow in a header's name.
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

// notText reports characters that HTTP does not allow in a header's value.
func notText(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
