package pagertest

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/docs"
	"tocsin/oncall"
)

// The schema names exactly what a page can hold: no field is undocumented, none is promised in vain.
func TestTheSchemaNamesWhatAPageHolds(t *testing.T) {
	s, err := ParseSchema(docs.PageSchema)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, s, "page", s, reflect.TypeFor[oncall.Page](), map[reflect.Type]bool{})
}

func compare(t *testing.T, root *Schema, path string, s *Schema, typ reflect.Type, seen map[reflect.Type]bool) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		if typ.Kind() == reflect.Slice && s.Items != nil {
			s = s.Items
		}
		typ = typ.Elem()
	}
	if s.Ref != "" {
		s = root.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")]
	}
	opaque := typ == reflect.TypeFor[time.Time]() || typ == reflect.TypeFor[labels.Labels]()
	if typ.Kind() != reflect.Struct || opaque || seen[typ] {
		return
	}
	seen[typ] = true
	fields := map[string]reflect.StructField{}
	collect(typ, fields)
	if typ == reflect.TypeFor[oncall.Attempt]() {
		delete(fields, "request") // kept for the log of deliveries; oncall.View takes it out of pages
	}
	for name, f := range fields {
		p := s.Properties[name]
		if p == nil {
			t.Errorf("%s.%s is sent and not in the schema", path, name)
			continue
		}
		compare(t, root, path+"."+name, p, f.Type, seen)
		if tag := f.Tag.Get("json"); strings.Contains(tag, ",omit") && slices.Contains(s.Required, name) {
			t.Errorf("%s.%s is required and may be left out", path, name)
		}
	}
	for name := range s.Properties {
		if _, ok := fields[name]; !ok {
			t.Errorf("%s.%s is in the schema and never sent", path, name)
		}
	}
}

// collect gathers the fields of a struct by their JSON names, embedded ones included.
func collect(typ reflect.Type, into map[string]reflect.StructField) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			collect(f.Type, into)
		case name != "-" && f.IsExported():
			into[name] = f
		}
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	s, err := ParseSchema([]byte(`{"type": "object", "required": ["a", "b"], "properties": {
		"a": {"type": "integer", "minimum": 1}, "b": {"enum": ["x", "y"]}, "c": {"type": "array", "items": {"$ref": "#/$defs/t"}},
		"d": {"type": "string", "pattern": "^[0-9]+$", "minLength": 2}, "e": {"type": ["array", "null"]}},
		"$defs": {"t": {"type": "string", "format": "date-time"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for document, want := range map[string]string{
		`{"a": 1, "b": "x", "c": ["2026-01-02T03:04:05.6Z"], "d": "12", "e": null}`: "",
		`{"a": 0, "b": "x"}`:                  "at least 1",
		`{"a": 1.5, "b": "x"}`:                "must be integer",
		`{"a": 1, "b": "z"}`:                  "must be one of",
		`{"a": 1}`:                            `lacks "b"`,
		`{"a": 1, "b": "x", "new": 1}`:        "does not name",
		`{"a": 1, "b": "x", "c": ["monday"]}`: "$.c[0]",
		`{"a": 1, "b": "x", "d": "1"}`:        "shorter than 2",
		`{"a": 1, "b": "x", "d": "1a"}`:       "does not match",
		`{"a": 1, "b": "x", "e": 7}`:          "must be array or null",
		`[]`:                                  "must be object",
		`{`:                                   "not JSON",
	} {
		got := strings.Join(s.Check([]byte(document)), "; ")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", document, got, want)
		}
	}
	if _, err := ParseSchema([]byte(`{"oneOf": []}`)); err == nil {
		t.Error("a keyword that is not checked was accepted")
	}
}
