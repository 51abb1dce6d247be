package slack

// Config is the slack section, secrets already read.
type Config struct {
	BotToken      string // xoxb-…; never printed
	SigningSecret string // never printed
	APIURL        string // with a trailing slash; https://slack.com/api/ by default
	Command       string // "/tocsin" by default
	AllowUnknown  bool   // people who are no configured user may act
}
