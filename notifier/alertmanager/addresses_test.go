package alertmanager

import (
	"strings"
	"testing"

	"tocsin/oncall"
)

// addressed is one entry of every list that people are reached by. What stands between « and » says where it leads.
const addressed = `global: {smtp_from: tocsin@example.org}
route: {receiver: r}
receivers:
- name: r
  email_configs: [{to: «ana@example.org», smarthost: '«mail.example.org»:25', html: hello}]
  webhook_configs: [{url: 'http://far.internal/«hook»', max_alerts: 3}]
  pagerduty_configs: [{routing_key: «duty», description: hello}, {routing_key_file: key}]
  opsgenie_configs: [{api_key: «genie», responders: [{name: «ops», type: team}], message: hello}]
  pushover_configs: [{user_key: «somebody», token: «app», title: hello}]
  telegram_configs: [{bot_token: «bot», chat_id: 17, message: hello}]
  discord_configs: [{webhook_url: 'https://discord.internal/«room»', title: hello}]
  msteams_configs: [{webhook_url: 'https://teams.internal/«room2»', title: hello}]
  msteamsv2_configs: [{webhook_url: 'https://teams.internal/«room3»', title: hello}]
  slack_configs: [{api_url: 'https://hooks.slack.com/«hook2»', channel: '«#ops»', title: hello}]
  sns_configs: [{topic_arn: 'arn:aws:sns:us-east-2:123456789012:«topic»', sigv4: {region: us-east-2}, subject: hello}]
  victorops_configs: [{api_key: «victor», routing_key: «team», state_message: hello}]
  webex_configs: [{room_id: «here», http_config: {authorization: {credentials: hello}}, message: hello}]
  wechat_configs: [{to_user: «ana», corp_id: «corp», agent_id: «agent», api_secret: hello, message: hello}]
  jira_configs: [{api_url: 'https://jira.internal/«rest»', project: «OPS», issue_type: Bug, summary: hello}]
  incidentio_configs: [{url: 'https://incident.internal/«source»', alert_source_token: «token2», timeout: 3s}]
  rocketchat_configs: [{token_id: «id», token: «chat», channel: «ops», title: hello}]
  mattermost_configs: [{webhook_url: 'https://mattermost.internal/«hook3»', channel: «ops2», text: hello}]
`

// addressesOf returns the addresses of all entries as they are marked, unhashed.
func addressesOf(t *testing.T, text, key string) map[oncall.Endpoint]string {
	t.Helper()
	c, problems := decoded(t, strings.NewReplacer("«", "", "»", "").Replace(text), map[string]string{"key": key})
	if c == nil {
		t.Fatal(problems)
	}
	return c.Addresses(func(_ oncall.Endpoint, address string) string { return address })
}

// TestAddresses: a change of where an integration leads is noticed, in each of its parts, and one of its words is not.
func TestAddresses(t *testing.T) {
	before := addressesOf(t, addressed, "one")
	if len(before) != 19 {
		t.Errorf("%d entries: %v", len(before), before)
	}
	changed := func(after map[oncall.Endpoint]string) (all []string) {
		for e, a := range after {
			if a != before[e] {
				all = append(all, string(e))
			}
		}
		return all
	}
	parts := strings.Split(addressed, "«")
	for i := 1; i < len(parts); i++ {
		value, _, _ := strings.Cut(parts[i], "»")
		after := changed(addressesOf(t, strings.Join(parts[:i], "«")+"«else"+strings.Join(parts[i:], "«"), "one"))
		if len(after) != 1 {
			t.Errorf("another %q: %v", value, after)
		}
	}
	if after := changed(addressesOf(t, strings.ReplaceAll(addressed, "chat_id: 17", "chat_id: 18"), "one")); len(after) != 1 {
		t.Errorf("another chat: %v", after)
	}
	if after := changed(addressesOf(t, strings.ReplaceAll(addressed, "hello", "good evening"), "one")); len(after) != 0 {
		t.Errorf("other words: %v", after)
	}
	if after := changed(addressesOf(t, addressed, "two")); len(after) != 1 || after[0] != "pagerduty_configs:r/1" {
		t.Errorf("another key in a file: %v", after)
	}
	var none *Config
	if got := none.Addresses(nil); len(got) != 0 {
		t.Errorf("without a configuration: %v", got)
	}
}

// TestAddressOfEveryList: each kind of integration has something that says where it leads.
func TestAddressOfEveryList(t *testing.T) {
	for _, list := range integrationLists {
		if !strings.Contains(addressed, list) {
			t.Errorf("%s: say here where its entries lead, and see that addressKeys has it", list)
		}
	}
}
