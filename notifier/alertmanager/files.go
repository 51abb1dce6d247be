package alertmanager

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/prometheus/alertmanager/config"
)

// visitor is called for each struct field below a value, with the path to it in the file: keys and indexes.
// Returning false leaves out what is below the field.
type visitor func(path []any, f reflect.StructField, v reflect.Value) bool

// visit calls fn for all fields that the file can set.
func visit(v reflect.Value, path []any, fn visitor) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			visit(v.Elem(), path, fn)
		}
	case reflect.Slice:
		for i := range v.Len() {
			visit(v.Index(i), append(path[:len(path):len(path)], i), fn)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key, inline := yamlKey(f)
			if !f.IsExported() || key == "-" {
				continue
			}
			at := path
			if !inline && key != "" {
				at = append(path[:len(path):len(path)], key)
			}
			if fn(at, f, v.Field(i)) {
				visit(v.Field(i), at, fn)
			}
		}
	}
}

type directoried interface{ SetDirectory(dir string) }

// resolve makes names of files relative to the configuration's folder, as Alertmanager does for templates and
// HTTP settings. For secret files Alertmanager asks in its working directory: such a name stays as it is
// where the configuration's folder has no such file.
func resolve(c *config.Config, dir string) {
	join := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	for i, name := range c.Templates {
		c.Templates[i] = join(name)
	}
	done := map[any]bool{} // an HTTP configuration may be shared: joining twice would be wrong
	visit(reflect.ValueOf(c), nil, func(path []any, f reflect.StructField, v reflect.Value) bool {
		if v.Kind() == reflect.Pointer && !v.IsNil() {
			if d, ok := v.Interface().(directoried); ok {
				if !done[v.Interface()] {
					done[v.Interface()] = true
					d.SetDirectory(dir)
				}
				return false
			}
		}
		if key, _ := yamlKey(f); strings.HasSuffix(key, "_file") && v.Kind() == reflect.String && v.CanSet() {
			if name := join(v.String()); name != v.String() && exists(name) {
				v.SetString(name)
			}
		}
		return true
	})
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
