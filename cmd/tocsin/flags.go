package main

import (
	"errors"
	"log/slog"
	"net/url"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
)

// webFlags are those that say how the server is reached. check takes them too, since they must fit the
// configuration.
type webFlags struct {
	ListenAddress   []string `name:"web.listen-address" default:":9093" sep:"none" placeholder:"ADDRESS" help:"Address to listen on; repeatable; port 0 takes any free one. Default: :9093."`
	ExternalURL     string   `name:"web.external-url" placeholder:"URL" help:"Address under which people reach tocsin, for links in messages. Default: the host's name and the port."`
	RoutePrefix     string   `name:"web.route-prefix" placeholder:"PATH" help:"Prefix of all paths. Default: the path of --web.external-url."`
	ConfigFile      string   `name:"web.config.file" placeholder:"FILE" help:"TLS and basic authentication of the listener (Prometheus exporter-toolkit)."`
	CallbackAddress string   `name:"web.callback-address" placeholder:"ADDRESS" help:"Serve only /slack/* and /hooks/* here, without users: the one port to expose."`
}

// serveFlags are all flags of serve.
type serveFlags struct {
	ConfigFile string         `name:"config.file" default:"tocsin.yml" placeholder:"FILE" help:"Configuration file. Default: tocsin.yml."`
	Storage    string         `name:"storage.path" default:"data/" placeholder:"DIR" help:"Where the database is kept (SQLite). Default: data/."`
	StorageURL string         `name:"storage.url" env:"TOCSIN_STORAGE_URL" placeholder:"URL" help:"Keep everything in PostgreSQL instead: postgres://…"`
	Retention  model.Duration `name:"storage.retention" default:"120d" help:"How long ended incidents are kept."`
	Web        webFlags       `embed:""`
	LogLevel   string         `name:"log.level" enum:"debug,info,warn,error" default:"info" help:"Least severity to log: debug, info, warn, error."`
	LogFormat  string         `name:"log.format" enum:"logfmt,json" default:"logfmt" help:"How to log: logfmt or json."`

	featureFlags `embed:""`

	StartDelay  model.Duration `name:"dispatch.start-delay" default:"0s" help:"How long routes wait after a start before they dispatch, as in Alertmanager."`
	MaxSilences int            `name:"silences.max-silences" default:"0" placeholder:"N" help:"No further silence where so many are kept, expired ones included. Default: 0, any number."`
	Cluster     clusterFlags   `embed:"" prefix:"cluster." group:"Ignored:"`
	Theirs      theirFlags     `embed:"" group:"Ignored:"`
}

// clusterFlags are Alertmanager's. They are taken so that its command line starts tocsin, and do nothing:
// replicas share a database instead of gossip.
type clusterFlags struct {
	ListenAddress      string   `hidden:"" name:"listen-address"`
	AdvertiseAddress   string   `hidden:"" name:"advertise-address"`
	Peer               []string `hidden:"" name:"peer"`
	PeerName           string   `hidden:"" name:"peer-name"`
	PeersResolve       string   `hidden:"" name:"peers-resolve-timeout"`
	PeerTimeout        string   `hidden:"" name:"peer-timeout"`
	GossipInterval     string   `hidden:"" name:"gossip-interval"`
	PushPullInterval   string   `hidden:"" name:"pushpull-interval"`
	TCPTimeout         string   `hidden:"" name:"tcp-timeout"`
	ProbeTimeout       string   `hidden:"" name:"probe-timeout"`
	ProbeInterval      string   `hidden:"" name:"probe-interval"`
	SettleTimeout      string   `hidden:"" name:"settle-timeout"`
	ReconnectInterval  string   `hidden:"" name:"reconnect-interval"`
	ReconnectTimeout   string   `hidden:"" name:"reconnect-timeout"`
	Label              string   `hidden:"" name:"label"`
	Name               string   `hidden:"" name:"name"`
	TLSConfig          string   `hidden:"" name:"tls-config"`
	AllowInsecure      bool     `hidden:"" name:"allow-insecure-public-advertise-address-discovery" negatable:""`
	MaxSilences        string   `hidden:"" name:"max-silences"`
	MaxPerSilenceBytes string   `hidden:"" name:"max-per-silence-bytes"`
}

// theirFlags are the rest of Alertmanager's that change nothing about who is told of what. They are taken for the
// same reason; ignored says why each does nothing.
type theirFlags struct {
	DataRetention       string `hidden:"" name:"data.retention"`
	DataMaintenance     string `hidden:"" name:"data.maintenance-interval"`
	MaxSilenceSize      string `hidden:"" name:"silences.max-silence-size-bytes"`
	LogSilences         bool   `hidden:"" name:"log.silences" negatable:""`
	AlertsGC            string `hidden:"" name:"alerts.gc-interval"`
	PerAlertname        string `hidden:"" name:"alerts.per-alertname-limit"`
	DispatchMaintenance string `hidden:"" name:"dispatch.maintenance-interval"`
	GetConcurrency      string `hidden:"" name:"web.get-concurrency"`
	Timeout             string `hidden:"" name:"web.timeout"`
	MemoryLimit         string `hidden:"" name:"auto-gomemlimit.ratio"`
}

// ignored says of each of theirFlags what tocsin has in its place.
var ignored = map[string]string{
	"data.retention":                  "--storage.retention says how long what has ended is kept",
	"data.maintenance-interval":       "everything is written at once, not from time to time",
	"silences.max-silence-size-bytes": "a silence may have 4 MB",
	"log.silences":                    "silences are kept in the database, with who set them",
	"alerts.gc-interval":              "resolved alerts are forgotten when nobody is left to tell",
	"alerts.per-alertname-limit":      "the number of alerts has no bound",
	"dispatch.maintenance-interval":   "empty groups need no sweeping",
	"web.get-concurrency":             "listings are streamed and need no turns",
	"web.timeout":                     "requests are bounded by what they do",
	"auto-gomemlimit.ratio":           "GOMEMLIMIT sets a bound",
}

// warnIgnored says which flags were given and do nothing, and why.
func warnIgnored(k *kong.Context, log *slog.Logger) {
	for _, f := range k.Flags() {
		why := ignored[f.Name]
		if strings.HasPrefix(f.Name, "cluster.") {
			why = "replicas share a PostgreSQL database (--storage.url) instead of gossip"
		}
		if f.Set && why != "" {
			log.Warn("This flag does nothing in tocsin: "+why, "flag", "--"+f.Name)
		}
	}
}

// validate checks what the parser cannot.
func (f serveFlags) validate() error {
	if err := f.validateFeatures(); err != nil {
		return err
	}
	if f.Retention <= 0 {
		return errors.New("--storage.retention must be longer than zero")
	}
	return f.Web.validate()
}

func (f webFlags) validate() error {
	if f.ExternalURL != "" {
		u, err := url.Parse(f.ExternalURL)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return errors.New("--web.external-url must be an address such as https://tocsin.example.com/")
		}
	}
	return nil
}

// prefix returns the prefix of all paths, "" or "/prefix".
func (f webFlags) prefix(external *url.URL) string {
	p := external.Path
	if f.RoutePrefix != "" {
		p = f.RoutePrefix
	}
	if p = strings.Trim(p, "/"); p == "" {
		return ""
	}
	return "/" + p
}

func (f serveFlags) logger(s streams) *slog.Logger {
	level, format := promslog.NewLevel(), promslog.NewFormat()
	// Both were checked by the parser.
	_ = level.Set(f.LogLevel)
	_ = format.Set(f.LogFormat)
	return promslog.New(&promslog.Config{Level: level, Format: format, Writer: s.Err})
}
