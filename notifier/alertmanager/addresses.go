package alertmanager

import (
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"

	"github.com/prometheus/alertmanager/config"
	amcommon "github.com/prometheus/alertmanager/config/common"

	"tocsin/oncall"
)

// addressKeys are the keys of integrations that say where a message goes: to whom, and by which far end. How it is
// worded and how the far end is spoken to is not among them.
var addressKeys = map[string]bool{
	"url": true, "api_url": true, "webhook_url": true, "smarthost": true,
	"to": true, "to_user": true, "to_party": true, "to_tag": true, "agent_id": true, "corp_id": true,
	"channel": true, "chat_id": true, "message_thread_id": true, "room_id": true, "device": true,
	"topic_arn": true, "target_arn": true, "phone_number": true, "project": true, "responders": true,
	"routing_key": true, "service_key": true, "api_key": true, "user_key": true, "token": true, "bot_token": true,
	"app_token": true, "token_id": true, "alert_source_token": true,
}

// Addresses returns a mark of where each integration leads, which mark makes of the address. An address may be a
// secret: mark must not let it be found out. Files are read as they are now.
func (c *Config) Addresses(mark func(e oncall.Endpoint, address string) string) map[oncall.Endpoint]string {
	all := map[oncall.Endpoint]string{}
	if c == nil {
		return all
	}
	for _, r := range c.config.Receivers {
		for _, list := range integrationLists {
			entries := listOf(&r, list)
			for i := range entries.Len() {
				e := oncall.IntegrationEndpoint(list, r.Name, i)
				all[e] = mark(e, addressOf(entries.Index(i)))
			}
		}
	}
	return all
}

// addressOf is all that says where an integration leads, secrets included.
func addressOf(entry reflect.Value) string {
	var b strings.Builder
	visit(entry, nil, func(path []any, _ reflect.StructField, v reflect.Value) bool {
		if len(path) == 0 { // what all integrations have is inline
			return true
		}
		key := fmt.Sprint(path[0])
		plain, file := strings.CutSuffix(key, "_file")
		if !addressKeys[plain] {
			return false
		}
		text, leaf := revealed(v)
		if leaf && text != "" {
			if content, err := os.ReadFile(text); file && err == nil {
				text = strings.TrimSpace(string(content))
			}
			fmt.Fprintf(&b, "%q=%q\n", fmt.Sprint(path...), text)
		}
		return !leaf
	})
	return b.String()
}

// revealed is a value as it was written, a secret too. It is no leaf where there is something below it.
func revealed(v reflect.Value) (text string, leaf bool) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "", true
		}
		var u *url.URL
		switch x := v.Interface().(type) {
		case *amcommon.SecretURL:
			u = x.URL
		case *amcommon.URL:
			u = x.URL
		default:
			v = v.Elem()
			continue
		}
		if u == nil {
			return "", true
		}
		return u.String(), true
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), true
	case reflect.Int, reflect.Int64:
		if v.IsZero() {
			return "", true
		}
		return fmt.Sprint(v.Int()), true
	case reflect.Struct, reflect.Slice:
		if h, ok := v.Interface().(config.HostPort); ok {
			return h.String(), true
		}
		return "", false
	}
	return "", true
}
