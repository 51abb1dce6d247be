package problem

import (
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"
)

// HTTPURL checks an absolute http or https URL. Problems do not repeat it: it may hold a password.
func HTTPURL(a At[string]) (*url.URL, List) {
	const expected = "expected a URL such as http://127.0.0.1:9090"
	u, err := url.Parse(strings.TrimSpace(a.Value))
	switch {
	case err != nil:
		return nil, List{a.Place.Errorf(expected)}
	case u.Scheme != "http" && u.Scheme != "https":
		p := a.Place.Errorf(expected)
		if u.Scheme == "" || u.Opaque != "" || u.Host == "" {
			p = p.WithHint("it must begin with http:// or https://")
		}
		return nil, List{p}
	case u.Hostname() == "":
		return nil, List{a.Place.Errorf("%s: this one names no host", expected)}
	case u.Fragment != "":
		return nil, List{a.Place.Errorf("the URL must have no fragment (#…): it would not be sent")}
	}
	return u, nil
}

// ReadableFiles reports the files named by keys that end in _file, at any depth below n, which cannot be
// read or are empty: better now than at the first request.
func (d *Document) ReadableFiles(n *yaml.Node) List {
	var problems List
	if n == nil {
		return nil
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i].Value, n.Content[i+1]
			if strings.HasSuffix(key, "_file") && value.Kind == yaml.ScalarNode && value.Value != "" {
				problems = append(problems, d.readable(value)...)
			}
		}
	}
	for _, c := range n.Content {
		problems = append(problems, d.ReadableFiles(c)...)
	}
	return problems
}

func (d *Document) readable(n *yaml.Node) List {
	path := d.Path(n.Value)
	content, err := d.Read(path)
	switch {
	case err != nil:
		return List{d.At(n).Errorf("cannot read the file %s: %s", path, readFailure(err))}
	case strings.TrimSpace(string(content)) == "":
		return List{d.At(n).Errorf("the file %s is empty", path)}
	}
	return nil
}
