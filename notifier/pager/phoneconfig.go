package pager

import (
	"net/url"
	"regexp"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"

	"tocsin/notifier/outgoing"
	"tocsin/problem"
)

// Twilio is one entry of a receiver's twilio_configs, the auth token already read.
type Twilio struct {
	URL          *url.URL // of the API, without a path
	Account      string
	Token        string // signs Twilio's reports too; never printed
	From         string // E.164
	Messaging    string // the SID of a messaging service, instead of From
	To           string // E.164
	Voice        bool   // a call; else an SMS
	Language     string // of the voice
	Ring         time.Duration
	Machine      bool // Twilio tells people from voicemail
	Timeout      time.Duration
	HTTP         promconfig.HTTPClientConfig
	AllowPrivate bool
}

// String keeps the token out of dumps.
func (t Twilio) String() string { return "Twilio account " + t.Account }

const (
	twilioURL   = "https://api.twilio.com"
	defaultRing = 25 * time.Second
	minRing     = 5 * time.Second
	maxRing     = 2 * time.Minute
)

type twilioBlock struct {
	Account   problem.At[string]        `yaml:"account_sid"`
	TokenFile problem.At[string]        `yaml:"auth_token_file"`
	TokenEnv  problem.At[string]        `yaml:"auth_token_env"`
	From      problem.At[string]        `yaml:"from"`
	Messaging problem.At[string]        `yaml:"messaging_service_sid"`
	To        problem.At[string]        `yaml:"to"`
	Mode      problem.At[string]        `yaml:"mode"`
	Language  problem.At[string]        `yaml:"language"`
	Ring      problem.At[time.Duration] `yaml:"ring"`
	Machine   problem.At[bool]          `yaml:"machine_detection"`
	URL       problem.At[string]        `yaml:"api_url"`
	Timeout   problem.At[time.Duration] `yaml:"timeout"`
	HTTP      *yaml.Node                `yaml:"http_config"`
}

// ExplainKey refuses secrets in the file.
func (twilioBlock) ExplainKey(key string) (message, hint string) {
	switch key {
	case "auth_token", "token":
		return problem.LiteralSecret("auth_token")
	case "send_resolved":
		return `twilio_configs has no "send_resolved"`, "an SMS tells whoever was asked of the end, a call never does: remove it"
	}
	return "", ""
}

var (
	accountForm   = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)
	messagingForm = regexp.MustCompile(`^MG[0-9a-fA-F]{32}$`)
	numberForm    = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)
	languageForm  = regexp.MustCompile(`^[a-z]{2,3}-[A-Z]{2}$`)
)

// DecodeTwilio decodes one entry of twilio_configs. The Twilio is usable only where there are no errors.
func DecodeTwilio(d *problem.Document, n *yaml.Node) (t Twilio, problems problem.List) {
	var b twilioBlock
	problems = d.Decode(n, &b)
	if n.Kind != yaml.MappingNode {
		return t, problems
	}
	t = Twilio{Account: b.Account.Value, From: b.From.Value, Messaging: b.Messaging.Value, To: b.To.Value, Voice: b.Mode.Value != "sms",
		Language: "en-US", Ring: defaultRing, Machine: b.Machine.Value, Timeout: DefaultTimeout}
	at := d.At(n)
	form := func(v problem.At[string], key string, re *regexp.Regexp, hint string) {
		switch {
		case !v.IsSet():
			problems = append(problems, at.Errorf("twilio_configs needs %s", key).WithHint("%s", hint))
		case v.IsValid() && !re.MatchString(v.Value):
			problems = append(problems, v.Place.Errorf("%s cannot be %q", key, v.Value).WithHint("%s", hint))
		}
	}
	const number = "a telephone number as Twilio has it, such as '+34600123456'"
	form(b.Account, "account_sid", accountForm, "it begins with AC and is in Twilio's console")
	form(b.To, "to", numberForm, number)
	switch {
	case b.From.IsSet() && b.Messaging.IsSet():
		problems = append(problems, b.Messaging.Place.Errorf("from and messaging_service_sid are both set").WithHint("keep one of them"))
	case b.Messaging.IsSet():
		form(b.Messaging, "messaging_service_sid", messagingForm, "it begins with MG and is in Twilio's console")
		if t.Voice {
			problems = append(problems, b.Messaging.Place.Errorf("a messaging service cannot call").WithHint("set from to a number of yours, or mode: sms"))
		}
	default:
		form(b.From, "from", numberForm, number+": one that Twilio has given or verified")
	}
	problems = append(problems, b.rest(&t)...)
	token, l := d.Secret(at, "auth_token", b.TokenFile, b.TokenEnv)
	t.Token, problems = token, append(problems, l...)
	api := b.URL
	if !api.IsSet() {
		api = problem.At[string]{Value: twilioURL, Place: at}
	}
	u, l := problem.HTTPURL(api)
	t.URL, problems = u, append(problems, l...)
	settings, l := outgoing.DecodeSettings(d, b.HTTP)
	t.HTTP, t.AllowPrivate = settings.HTTP, settings.AllowPrivate
	return t, append(problems, l...)
}

// rest checks what has a default.
func (b twilioBlock) rest(t *Twilio) (problems problem.List) {
	if b.Mode.IsValid() && b.Mode.Value != "voice" && b.Mode.Value != "sms" {
		problems = append(problems, b.Mode.Place.Errorf("unknown mode %q", b.Mode.Value).WithHint("expected voice or sms"))
	}
	if b.Language.IsValid() {
		if t.Language = b.Language.Value; !languageForm.MatchString(t.Language) {
			problems = append(problems, b.Language.Place.Errorf("%q is no language of a voice", t.Language).WithHint("such as en-US, es-ES: who speaks the words, which stay as they are"))
		}
	}
	if b.Ring.IsValid() {
		if t.Ring = b.Ring.Value; t.Ring < minRing || t.Ring > maxRing {
			problems = append(problems, b.Ring.Place.Errorf("ring must be between 5s and 2m").WithHint("how long it rings before the next contact is tried"))
		}
	}
	if b.Timeout.IsValid() {
		if t.Timeout = b.Timeout.Value; t.Timeout <= 0 {
			problems = append(problems, b.Timeout.Place.Errorf("timeout must be above 0"))
		}
	}
	return problems
}
