package main

import (
	"fmt"
	"strings"
	"testing"
)

// A page that was sent is in the log, can be sent again, and its receiver can be tested; a name that leads to a private
// address is spoken of before a page finds out.
func TestDeliveryCommands(t *testing.T) {
	noLeaks(t)
	base, paged := backend(t)
	dir := t.TempDir()
	named := strings.Replace(configuration, "escalations:", `- name: named
  page_configs: [{url: 'http://nowhere.invalid/hidden-path', secret_file: secret}]
escalations:`, 1)
	write(t, dir, "tocsin.yml", fmt.Sprintf(named, base, base))
	write(t, dir, "rules.yml", fmt.Sprintf(ruleFile, "Down"))
	write(t, dir, "secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	i := start(t, dir, nil)
	page(t, paged, i)

	step := func(code int, want string, args ...string) string {
		t.Helper()
		got, out := i.cli(t, args...)
		if got != code || !strings.Contains(out, want) {
			t.Errorf("%v: exit code %d, printed\n%s\nwant %d, %q", args, got, out, code, want)
		}
		return out
	}
	var key string
	eventually(t, i, "the page is in the log as delivered", func() bool {
		_, out := i.cli(t, "delivery", "list", "--state", "delivered", "--endpoint", "page:phone/0")
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "msg_") {
				key = strings.Fields(line)[0]
			}
		}
		return key != ""
	})
	step(0, "asked POST "+base+"/…", "delivery", "show", key)
	step(0, `"version": "1"`, "delivery", "show", key)
	step(0, `"webhook-signature": "\u003cmasked\u003e"`, "delivery", "show", key, "-o", "json")
	step(0, key+" is sent again, as msg_", "delivery", "resend", key, "--user", "ana")
	if again := page(t, paged, i); !strings.Contains(again, `"incident.triggered"`) {
		t.Errorf("what was sent again: %s", again)
	}
	step(1, "there is no delivery msg_none", "delivery", "resend", "msg_none")
	step(1, "unknown state", "delivery", "list", "--state", "lost")
	step(0, "page:phone/0: delivered", "receiver", "test", "phone", "--note", "does it ring?")
	if test := page(t, paged, i); !strings.Contains(test, `"title":"TEST: does it ring?"`) || !strings.Contains(test, `"test":true`) {
		t.Errorf("the test page: %s", test)
	}
	step(1, `known here: named, phone`, "receiver", "test", "fone")
	eventually(t, i, "a name that cannot be resolved is warned of", func() bool {
		_, out := i.cli(t, "receiver", "list")
		return strings.Contains(out, "nowhere.invalid cannot be resolved")
	})
	if log := i.log.String(); !strings.Contains(log, "would not be sent as things are") || strings.Contains(log, "hidden-path") {
		t.Errorf("the log:\n%s", log)
	}
	i.end(t)
}
