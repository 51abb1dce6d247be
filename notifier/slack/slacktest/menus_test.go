package slacktest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestMenuLimits holds each limit of menus and of the fields of dialogs.
func TestMenuLimits(t *testing.T) {
	option := func(text, value string) string {
		return fmt.Sprintf(`{"text":{"type":"plain_text","text":%q},"value":%q}`, text, value)
	}
	options := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = option("x", fmt.Sprint(i))
		}
		return strings.Join(all, ",")
	}
	actions := func(element string) string { return `[{"type":"actions","elements":[` + element + `]}]` }
	const placeholder = `"placeholder":{"type":"plain_text","text":"x"}`
	menu := func(rest string) string {
		return actions(`{"type":"static_select","action_id":"a",` + placeholder + `,` + rest + `}`)
	}
	overflow := func(list string) string {
		return actions(`{"type":"overflow","action_id":"a","options":[` + list + `]}`)
	}
	for name, c := range map[string]struct {
		blocks string
		bad    bool
	}{
		"options":            {menu(`"options":[` + options(100) + `]`), false},
		"101 options":        {menu(`"options":[` + options(101) + `]`), true},
		"groups":             {menu(`"option_groups":[{"label":{"type":"plain_text","text":"x"},"options":[` + options(2) + `]}]`), false},
		"groups and options": {menu(`"option_groups":[{"label":{"type":"plain_text","text":"x"},"options":[` + options(2) + `]}],"options":[` + options(2) + `]`), true},
		"neither":            {menu(`"focus_on_load":true`), true},
		"group of nothing":   {menu(`"option_groups":[{"label":{"type":"plain_text","text":"x"},"options":[]}]`), true},
		"group's label":      {menu(`"option_groups":[{"label":{"type":"plain_text","text":"` + strings.Repeat("x", 76) + `"},"options":[` + options(2) + `]}]`), true},
		"value":              {menu(`"options":[` + option("x", strings.Repeat("x", 150)) + `]`), false},
		"value too long":     {menu(`"options":[` + option("x", strings.Repeat("x", 151)) + `]`), true},
		"text too long":      {menu(`"options":[` + option(strings.Repeat("x", 76), "x") + `]`), true},
		"value twice":        {menu(`"options":[` + option("x", "1") + "," + option("y", "1") + `]`), true},
		"overflow":           {overflow(options(5)), false},
		"overflow of six":    {overflow(options(6)), true},
		"overflow of none":   {overflow(""), true},
		"overflow's name":    {actions(`{"type":"overflow","action_id":"a",` + placeholder + `,"options":[` + options(2) + `]}`), true},
		"users in a message": {actions(`{"type":"users_select","action_id":"a",` + placeholder + `}`), true},
	} {
		if err := CheckBlocks([]byte(c.blocks)); (err != nil) != c.bad {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		element string
		bad     bool
	}{
		"text":           {`"type":"plain_text_input","action_id":"a","max_length":3000`, false},
		"text of 3,001":  {`"type":"plain_text_input","action_id":"a","max_length":3001`, true},
		"user":           {`"type":"users_select","action_id":"a","initial_user":"U1"`, false},
		"no user":        {`"type":"users_select","action_id":"a","initial_user":"ana"`, true},
		"menu":           {`"type":"static_select","action_id":"a",` + placeholder + `,"options":[` + options(1) + `]`, false},
		"menu of none":   {`"type":"static_select","action_id":"a",` + placeholder + `,"options":[]`, true},
		"without a name": {`"type":"plain_text_input"`, true},
		"date":           {`"type":"datepicker","action_id":"a"`, true},
	} {
		check := &checker{blockIDs: map[string]bool{}}
		var element object
		if err := json.Unmarshal([]byte(`{`+c.element+`}`), &element); err != nil {
			t.Fatal(err)
		}
		check.field("/element", element)
		if (len(check.problems) > 0) != c.bad {
			t.Errorf("%s: %q", name, check.problems)
		}
	}
}
