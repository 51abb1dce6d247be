package pagertest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Schema is the part of JSON Schema that the page's schema uses. Any other keyword is an error when it is
// read: a keyword that is ignored would promise what is not checked.
type Schema struct {
	Meta        string             `json:"$schema"`
	Title       string             `json:"title"`
	Description string             `json:"description"`
	Ref         string             `json:"$ref"`
	Defs        map[string]*Schema `json:"$defs"`
	Type        oneOrMore          `json:"type"`
	Enum        []any              `json:"enum"`
	Required    []string           `json:"required"`
	Properties  map[string]*Schema `json:"properties"`
	Additional  *Schema            `json:"additionalProperties"`
	Items       *Schema            `json:"items"`
	Pattern     string             `json:"pattern"`
	Format      string             `json:"format"`
	MinLength   int                `json:"minLength"`
	Minimum     *float64           `json:"minimum"`
}

// oneOrMore is a JSON string or a list of them.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o))
}

// ParseSchema reads a schema and refuses keywords that Check does not know.
func ParseSchema(text []byte) (*Schema, error) {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	var s Schema
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("page schema: %w", err)
	}
	return &s, nil
}

// Check returns what is wrong with a JSON document, one sentence each. Stricter than JSON Schema, it takes
// a property that no schema names for an error: what is sent must be documented.
func (s *Schema) Check(document []byte) []string {
	var v any
	if err := json.Unmarshal(document, &v); err != nil {
		return []string{"not JSON: " + err.Error()}
	}
	c := checker{root: s}
	c.check("$", s, v)
	return c.problems
}

type checker struct {
	root     *Schema
	problems []string
}

func (c *checker) bad(path, format string, args ...any) {
	c.problems = append(c.problems, path+": "+fmt.Sprintf(format, args...))
}

func (c *checker) check(path string, s *Schema, v any) {
	if s.Ref != "" {
		def := c.root.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")]
		if def == nil {
			c.bad(path, "the schema refers to %s, which it does not define", s.Ref)
			return
		}
		c.check(path, def, v)
	}
	if len(s.Type) > 0 && !slices.ContainsFunc(s.Type, func(t string) bool { return isType(t, v) }) {
		c.bad(path, "is %T, must be %s", v, strings.Join(s.Type, " or "))
		return
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		c.bad(path, "is %v, must be one of %v", v, s.Enum)
	}
	switch v := v.(type) {
	case map[string]any:
		c.object(path, s, v)
	case []any:
		if s.Items != nil {
			for i, item := range v {
				c.check(fmt.Sprintf("%s[%d]", path, i), s.Items, item)
			}
		}
	case string:
		c.text(path, s, v)
	case float64:
		if s.Minimum != nil && v < *s.Minimum {
			c.bad(path, "is %v, must be at least %v", v, *s.Minimum)
		}
	}
}

func (c *checker) object(path string, s *Schema, v map[string]any) {
	if s.Ref != "" {
		return // checked there
	}
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			c.bad(path, "lacks %q", name)
		}
	}
	for name, item := range v {
		switch {
		case s.Properties[name] != nil:
			c.check(path+"."+name, s.Properties[name], item)
		case s.Additional != nil:
			c.check(path+"."+name, s.Additional, item)
		default:
			c.bad(path, "has %q, which the schema does not name", name)
		}
	}
}

func (c *checker) text(path string, s *Schema, v string) {
	if len(v) < s.MinLength {
		c.bad(path, "is shorter than %d", s.MinLength)
	}
	if s.Pattern != "" {
		if re, err := regexp.Compile(s.Pattern); err != nil || !re.MatchString(v) {
			c.bad(path, "%q does not match %s", v, s.Pattern)
		}
	}
	if s.Format == "date-time" {
		if _, err := time.Parse(time.RFC3339Nano, v); err != nil {
			c.bad(path, "%q is no RFC 3339 time", v)
		}
	}
}

func isType(t string, v any) bool {
	switch v := v.(type) {
	case nil:
		return t == "null"
	case bool:
		return t == "boolean"
	case string:
		return t == "string"
	case float64:
		return t == "number" || t == "integer" && v == float64(int64(v))
	case []any:
		return t == "array"
	case map[string]any:
		return t == "object"
	}
	return false
}
