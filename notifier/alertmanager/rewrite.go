package alertmanager

import (
	"reflect"
	"strings"
)

// rewrite copies a value of the configuration with each of its texts replaced by what fn makes of it. fn
// gets the path of the text below the value: keys and indexes. What is no part of Alertmanager's own types
// (HTTP settings, URLs, expressions) is not looked into, and stays shared.
func rewrite(v reflect.Value, path []any, fn func(path []any, s string) string) reflect.Value {
	at := func(step any) []any { return append(path[:len(path):len(path)], step) }
	switch v.Kind() {
	case reflect.String:
		return reflect.ValueOf(fn(path, v.String())).Convert(v.Type())
	case reflect.Pointer:
		if v.IsNil() || opaque(v.Type().Elem()) {
			return v
		}
		out := reflect.New(v.Type().Elem())
		out.Elem().Set(rewrite(v.Elem(), path, fn))
		return out
	case reflect.Interface:
		if v.IsNil() {
			return v
		}
		return rewrite(v.Elem(), path, fn)
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(rewrite(v.Index(i), at(i), fn))
		}
		return out
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			value := rewrite(it.Value(), at(mapKey(it.Key())), fn)
			if !value.IsValid() {
				value = reflect.Zero(v.Type().Elem())
			}
			out.SetMapIndex(it.Key(), value)
		}
		return out
	case reflect.Struct:
		if opaque(v.Type()) {
			return v
		}
		out := reflect.New(v.Type()).Elem()
		out.Set(v)
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key, inline := yamlKey(f)
			if !f.IsExported() || key == "-" || strings.HasSuffix(key, "_file") {
				continue
			}
			below := path
			if !inline && key != "" {
				below = at(key)
			}
			out.Field(i).Set(rewrite(v.Field(i), below, fn))
		}
		return out
	}
	return v
}

func mapKey(v reflect.Value) string {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if v.Kind() == reflect.String {
		return v.String()
	}
	return ""
}

// opaque reports that a type is not one of Alertmanager's notifier configurations.
func opaque(t reflect.Type) bool {
	return t.PkgPath() != "" && !strings.HasPrefix(t.PkgPath(), "github.com/prometheus/alertmanager/")
}
