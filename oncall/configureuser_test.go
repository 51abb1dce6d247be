package oncall_test

import (
	"fmt"
	"strings"
	"testing"

	"tocsin/oncall"
	"tocsin/problem"
)

func TestUsersByEmail(t *testing.T) {
	for name, c := range map[string]struct{ users, want string }{
		"good":          {"- {name: ana, email: Ana.Maria+oncall@shop.example}\n- {name: bo, email: bo@shop.example, slack: U03BO}\n", ""},
		"no address":    {"- {name: ana, email: ana}\n", `users.yml:1:22: expected an e-mail address such as ana@shop.example, found "ana"`},
		"with a name":   {"- {name: ana, email: 'Ana <ana@shop.example>'}\n", "expected an e-mail address"},
		"two":           {"- {name: ana, email: 'ana@shop.example,bo@shop.example'}\n", "expected an e-mail address"},
		"taken":         {"- {name: ana, email: ana@shop.example}\n- {name: bo, email: ANA@shop.example}\n", `is user "ana"'s already`},
		"dm by e-mail":  {"- {name: ana, email: ana@shop.example, contacts: [{slack: dm}]}\n", `user "ana" has no Slack ID to send a direct message to`},
		"empty address": {"- {name: ana, email: ''}\n", "expected an e-mail address"},
	} {
		t.Run(name, func(t *testing.T) {
			d, problems := problem.Parse("users.yml", []byte(c.users))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			users, _, problems := oncall.DecodeUsers(d, d.Root)
			if got := fmt.Sprint(problems); (c.want == "") != (len(problems) == 0) || !strings.Contains(got, c.want) {
				t.Errorf("got %s", got)
			}
			if c.want == "" && users[0].Value.Email != "Ana.Maria+oncall@shop.example" {
				t.Errorf("%+v", users[0].Value)
			}
		})
	}
}
